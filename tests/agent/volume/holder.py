"""An agent as far as a volume knows one: a process with a mount namespace of its own, to be killed.

    python -m tests.agent.volume.holder FOLDER {create|hold|resize} [btrfs|xfs|ext4]

It says on standard output what it has done, a line each; `wrote N` after every record of `growing`.
With `hold` it starts a child that outlives it, whose pid is in FOLDER/child.pid.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from pathlib import Path

from agent.volume.kinds import BTRFS, PREFERRED
from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock
from common.session_spec import VolumeLimits

MB = 1024**2
LIMITS = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=640 * MB
)
PLAIN_LIMITS = VolumeLimits(
    initial_bytes=384 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=768 * MB
)
"""Of XFS and ext4: XFS is never smaller."""
RECORD_BYTES = 64 * 1024
_CLONE_NEWNS, _MS_REC, _MS_PRIVATE = 0x20000, 0x4000, 1 << 18


def record(number: int) -> bytes:
    return number.to_bytes(8, "big") * (RECORD_BYTES // 8)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def enter_namespace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_CLONE_NEWNS) == 0
    assert libc.mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE, None) == 0


async def main(folder: Path, what: str, name: str = BTRFS.name) -> None:
    limits = LIMITS if name == BTRFS.name else PLAIN_LIMITS
    preferred = [kind for kind in PREFERRED if kind.name == name]
    volume = LoopVolume(folder, limits, clock=SystemClock(), preferred=preferred)
    say("begins")
    await volume.create()
    if what == "create":
        return
    upper = await volume.attach() / "active/upper"
    if what == "hold":
        hold(upper)
    say("attached")
    while True:
        for call in (volume.grow(1), volume.grow(2), volume.shrink(), volume.shrink()):
            say(f"size {await call}")


def hold(upper: Path) -> None:
    with (upper / "synced").open("wb") as file:
        file.write(b"synced" * MB)
        os.fsync(file.fileno())
    (upper / "cached").write_bytes(b"cached" * MB)
    # Lives on in the namespace when the agent is killed.
    child = subprocess.Popen(["sleep", "600"], stdout=subprocess.DEVNULL)
    (upper.parents[2] / "child.pid").write_text(str(child.pid))
    say("child")
    fd = os.open(upper / "growing", os.O_WRONLY | os.O_CREAT)
    for number in range(100 * MB // RECORD_BYTES):
        os.write(fd, record(number))
        say(f"wrote {number}")
    sys.stdin.read()


if __name__ == "__main__":
    enter_namespace()
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
