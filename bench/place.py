"""A file system of this process's own, and a program on it; `python -m bench.place KIND FOLDER …`.

What is mounted is seen by nobody else, and goes with the process, however that ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from agent.root import kernel
from agent.root.layers import enter_own_mounts
from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock
from common.session_spec import VolumeLimits

if TYPE_CHECKING:
    from collections.abc import Sequence

OVERLAY, VOLUME = "overlay", "volume"
LOWER = Path("/usr")
"""What engines have as an image. An overlay's upper folder may not lie in its lower one, so `/`
can't be it on a machine with one disk."""
MERGED_NAME = "merged"
VOLUME_BYTES = 8 * 1024**3  # all of the work fits, so this one never grows


def mount_overlay(folder: Path) -> None:
    """Mount what Docker's and Podman's `overlay2` do: an upper folder on the machine's own disk."""
    for name in ("upper", "work", MERGED_NAME):
        (folder / name).mkdir()
    options = f"lowerdir={LOWER},upperdir={folder}/upper,workdir={folder}/work,index=off"
    kernel.mount("studios-bench", str(folder / MERGED_NAME), "overlay", kernel.MS_NOATIME, options)


async def mount_volume(folder: Path) -> None:
    """Mount a session's volume without anything above it."""
    limits = VolumeLimits(initial_bytes=VOLUME_BYTES)
    volume = LoopVolume(folder, limits, clock=SystemClock())
    await volume.create()
    await volume.attach()


def main(arguments: Sequence[str]) -> None:
    kind, folder, *command = arguments
    enter_own_mounts()
    if kind == OVERLAY:
        mount_overlay(Path(folder))
    else:
        asyncio.run(mount_volume(Path(folder)))
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
