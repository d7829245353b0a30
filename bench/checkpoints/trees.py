"""Where everything lies: files on a session's volume, repositories on the machine's disk.

Not only because that is how it is in a session. ext4 without a journal doesn't use inodes again for
minutes after they were deleted, and searches past them: whoever comes second, after the files of
the first were removed, would need ten times as long.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.volume.loop_volume import LoopVolume
from bench.checkpoints.costs import run
from common.clock import SystemClock
from common.session_spec import VolumeLimits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

VOLUME_BYTES = 16_000_000_000
_MARGIN_SECONDS = 2.1
"""What was touched so shortly before a capture is read again by the next one."""


@dataclass(frozen=True, slots=True)
class Ground:
    """Two folders."""

    disk: Path
    """For repositories, logs, and caches of programs."""
    volume: Path
    """For what is written to repositories, and read back."""

    async def make(self, name: str) -> Path:
        """Write one of `data`'s trees, in a process of its own, which ends with this one."""
        folder = self.volume / name
        command = (sys.executable, "-m", "bench.checkpoints.data", name, str(folder))
        await run(name, *command, log_folder=self.disk, within=Path.cwd(), environment={})
        await rest()
        return folder

    async def target(self) -> Path:
        """Return a new empty folder to restore into."""
        folder = self.volume / "restored"
        await asyncio.to_thread(folder.mkdir)
        await settled()
        return folder


@asynccontextmanager
async def ground(scratch: Path) -> AsyncIterator[Ground]:
    """Make a volume and mount it while inside, for this process and those that it starts."""
    limits = VolumeLimits(initial_bytes=VOLUME_BYTES, limit_bytes=VOLUME_BYTES)
    volume = LoopVolume(scratch, limits, clock=SystemClock())
    await volume.create()
    mount = await volume.attach()
    try:
        yield Ground(scratch, mount)
    finally:
        await asyncio.shield(volume.detach())


async def rest() -> None:
    """Let what was touched become old enough, and the disk have nothing more to do."""
    await asyncio.sleep(_MARGIN_SECONDS)
    await settled()


async def settled() -> None:
    """Return when nothing is left to be written of what was before."""
    await asyncio.to_thread(os.sync)


async def removed(folder: Path) -> None:
    await asyncio.to_thread(shutil.rmtree, folder)
