"""The kernel's own view of mounts and loop devices, asked without the code under test."""

from __future__ import annotations

import ctypes
import subprocess
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.volume.loop_volume import LoopVolume
    from agent.volume.loopdev import LoopDevices
    from common.clock import Clock
    from common.session_spec import VolumeLimits

    class MakeVolume(Protocol):
        """The fixture `make_volume`."""

        def __call__(
            self,
            limits: VolumeLimits = ...,
            *,
            clock: Clock | None = None,
            devices: LoopDevices | None = None,
        ) -> LoopVolume: ...


WAIT_SECONDS_MAX = 20.0
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def loop_devices(folder: Path) -> list[str]:
    """Return the devices bound to a file in `folder`, in any namespace."""
    found = []
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            text = backing.read_text()
        except OSError:  # unbound meanwhile
            continue
        if str(folder) in text:
            found.append(f"/dev/{backing.parts[3]}")
    return found


def mounts(folder: Path) -> list[str]:
    """Return what is mounted below `folder` in any process's namespace, deepest first."""
    found = set()
    for pid in psutil.pids():
        try:
            lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:  # ended meanwhile
            continue
        found |= {line.split()[4] for line in lines if str(folder) in line.split()[4]}
    return sorted(found, reverse=True)


@contextmanager
def without_capability(number: int) -> Iterator[None]:
    """Do without one of capabilities(7) while inside: this thread, and those that it starts."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for 64 bits
    assert libc.capget(header, data) == 0
    before = data[0]
    data[0] &= ~(1 << number)
    assert libc.capset(header, data) == 0
    try:
        yield
    finally:
        data[0] = before
        assert libc.capset(header, data) == 0


def wait_for(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS_MAX
    while not condition():
        assert time.monotonic() < end, f"still waiting: {what}"
        time.sleep(0.01)


def let_go(volume: LoopVolume) -> None:
    """Close its descriptors, as the kernel does for a killed process."""
    if volume._attached is not None:
        volume._attached.close()
        volume._attached = None


def clean_up(folder: Path) -> None:
    for _ in range(3):  # a mount may lie on another one
        for mount_point in mounts(folder):
            subprocess.run(["umount", "--lazy", mount_point], capture_output=True, check=False)
    for device in loop_devices(folder):
        subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)
    wait_for(lambda: not loop_devices(folder), f"loop devices of {folder}")
