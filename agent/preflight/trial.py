"""One trial, a process of its own: makes a thing as a session's root does, and leaves nothing.

    python -m agent.preflight.trial NAME FOLDER

Whatever it makes hangs on the process (namespaces and what is mounted in them) or on a descriptor
(an unlinked file, a loop device that the kernel frees with its last user), so that it is gone with
the process, however that ends. What it found is printed as one line of JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.preflight.facts import Trial
from agent.root import kernel
from agent.root.confinement import CAPABILITY_NUMBERS, PROFILES
from agent.root.network import NetworkUnavailableError, SessionNetwork
from agent.root.plan import OVERLAY_OPTIONS
from agent.root.seccomp import seccomp_profile
from agent.root.seccomp_filter import SeccompUnavailableError, compile_filter
from agent.volume import image, kinds
from agent.volume.loopdev import LoopDevices
from agent.volume.volume import VolumeError
from common import log
from common.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

VOLUME_BYTES = 320 * 1024**2
"""XFS is never smaller; the file is sparse and takes a megabyte, or the journal's 64."""
_SCRATCH = "/sys"  # is there on every host, and needed by no trial: what is made is mounted over it
_SIGKILL = 9
_DIRECT_IO = 16  # LO_FLAGS_DIRECT_IO
_KINDS = {
    "a mount namespace": kernel.CLONE_NEWNS,
    "a hostname namespace": kernel.CLONE_NEWUTS,
    "an ipc namespace": kernel.CLONE_NEWIPC,
    "a cgroup namespace": kernel.CLONE_NEWCGROUP,
    "a network namespace": kernel.CLONE_NEWNET,
    "a pid namespace": kernel.CLONE_NEWPID,
}
_FAILURES = (OSError, VolumeError, NetworkUnavailableError, SeccompUnavailableError)


class FailedError(Exception):
    """A step failed."""

    def __init__(self, step: str, cause: BaseException) -> None:
        super().__init__(step)
        self.trial = Trial(
            failed_at=step,
            error=(cause.errno or 0) if isinstance(cause, OSError) else 0,
            reason=(cause.strerror if isinstance(cause, OSError) else None) or str(cause),
        )


@contextlib.contextmanager
def step(what: str) -> Iterator[None]:
    """Name what is done in the block, should it fail."""
    try:
        yield
    except _FAILURES as error:
        raise FailedError(what, error) from None


def main(name: str, folder: str) -> None:
    kernel.die_with_parent(_SIGKILL)
    log.configure(program="trial", level="error", stream=sys.stderr)
    trials: dict[str, Callable[[], tuple[str, ...]]] = {
        "namespaces": _namespaces,
        "mounts": _mounts,
        "confinement": _confinement,
        "volume": lambda: _volume(folder),
        "way-out": lambda: asyncio.run(_way_out()),
    }
    _report(trials[name])


def _report(trial: Callable[[], tuple[str, ...]]) -> None:
    try:
        found = Trial(losses=trial())
    except FailedError as error:
        found = error.trial
    os.write(1, msgspec.json.encode(found))


# ── What is tried ────────────────────────────────────────────────────────────


def _namespaces() -> tuple[str, ...]:
    for what, flag in _KINDS.items():
        with step(what):
            kernel.unshare(flag)
    return ()


def _mounts() -> tuple[str, ...]:
    """What `agent.root.launcher` does, in the same order."""
    with step("namespaces"):
        kernel.unshare(
            kernel.CLONE_NEWNS
            | kernel.CLONE_NEWPID
            | kernel.CLONE_NEWIPC
            | kernel.CLONE_NEWUTS
            | kernel.CLONE_NEWNET
        )
    child = os.fork()  # only a child is in the new pid namespace, and may mount its /proc
    if child == 0:
        kernel.die_with_parent(_SIGKILL)
        _report(_root)
        os._exit(0)
    os.waitpid(child, 0)
    os._exit(0)


def _root() -> tuple[str, ...]:
    with step("the propagation of mounts"):
        kernel.set_propagation("/", kernel.MS_REC | kernel.MS_SLAVE)
    with step("a mount of tmpfs"):
        kernel.mount("studios-check", _SCRATCH, "tmpfs", kernel.MS_NODEV | kernel.MS_NOSUID)
    _overlay()
    with step("a copy of a mount"):
        node = kernel.clone_mount("/dev/null", recursive=False)
        kernel.set_mount_attributes(node, attributes=0, recursive=False)
    with step("the change of the root"):
        os.chdir(f"{_SCRATCH}/root")
        kernel.pivot_root(".", ".")
        kernel.unmount(".", kernel.MNT_DETACH)
        os.chdir("/")
    for kind, target, options in (
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("tmpfs", "/dev", "size=64k"),
        ("devpts", "/dev/pts", "newinstance,ptmxmode=0666,mode=0620"),
        ("mqueue", "/dev/mqueue", ""),
    ):
        with step(f"a mount of {kind}"):
            os.makedirs(target, exist_ok=True)
            kernel.mount(kind, target, kind, kernel.MS_NOSUID | kernel.MS_NOEXEC, options)
    with step("a node in /dev"):
        os.close(os.open("/dev/null", os.O_CREAT | os.O_CLOEXEC))
        kernel.attach_mount(node, "/dev/null")
    with step("a read-only /proc/sys"):
        kernel.mount("/proc/sys", "/proc/sys", None, kernel.MS_BIND | kernel.MS_REC)
        flags = kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY
        kernel.mount("none", "/proc/sys", None, flags)
    return ()


def _overlay() -> None:
    """Put a layer over `/`, and change something of `/` in it."""
    upper, work, root = (f"{_SCRATCH}/{name}" for name in ("upper", "work", "root"))
    with step("an overlay over /"):
        for folder in (upper, work, root):
            os.mkdir(folder)
        layers = f"lowerdir=/,upperdir={upper},workdir={work}"
        kernel.mount("overlay", root, "overlay", kernel.MS_NODEV, f"{layers},{OVERLAY_OPTIONS}")
    with step("a change in the overlay"):
        os.utime(f"{root}/etc")
        os.mkdir(f"{root}/studios-check")
        os.setxattr(work, "trusted.studios", b"check")


def _confinement() -> tuple[str, ...]:
    profile = PROFILES["default"]
    with step("the filter of system calls"):
        program = compile_filter(seccomp_profile(profile))
    with step("a keyring"):
        kernel.join_new_session_keyring()
    with step("the filter of system calls"):
        kernel.set_seccomp_filter(program)
    with step("giving up capabilities"):
        kernel.keep_capabilities(CAPABILITY_NUMBERS[name] for name in profile.capabilities)
    return ()


def _volume(folder: str) -> tuple[str, ...]:
    with step(f"a file in {folder}"):
        fd, path = tempfile.mkstemp(prefix=".studios-check-", dir=folder)
        os.unlink(path)
        os.ftruncate(fd, VOLUME_BYTES)
    file = Path(f"/proc/self/fd/{fd}")
    with step("the choice of a file system"):
        kind = kinds.choose(VOLUME_BYTES)
    with step(f"mkfs.{kind.name}"):
        image.make_file_system(kind, file, VOLUME_BYTES, pass_fds=[fd])
    with step("a loop device"):
        device = LoopDevices().bind(file)
        status = device.status()
    with step("a mount namespace"):
        kernel.unshare(kernel.CLONE_NEWNS)
        kernel.set_propagation("/", kernel.MS_REC | kernel.MS_PRIVATE)
    with step(f"a mount of {kind.name}"):
        flags = kernel.MS_NOATIME | kernel.MS_NODEV | kernel.MS_NOSUID
        kernel.mount(str(device.node), _SCRATCH, kind.name, flags, kind.mount_options)
    _overlay()
    if status is not None and not status.flags & _DIRECT_IO:
        return (f"{folder} allows no direct I/O",)
    return ()


async def _way_out() -> tuple[str, ...]:
    with step("a network"):
        network = SessionNetwork()
    told = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(network.keep_way_out(SystemClock(), told.set))
        await told.wait()
        problem = network.problem
        keeping.cancel()
    if problem is not None:
        with step("slirp4netns"):
            raise NetworkUnavailableError(problem)
    return ()


if __name__ == "__main__":
    main(*sys.argv[1:])
