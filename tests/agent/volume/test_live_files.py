"""The files of a volume without snapshots, as a capture finds them."""

from __future__ import annotations

import asyncio
import mmap
from typing import TYPE_CHECKING

import pytest

from agent.volume.kinds import EXT4, XFS
from agent.volume.live_files import LiveFiles
from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock
from tests.agent.volume.holder import PLAIN_LIMITS
from tests.agent.volume.kernel import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.file_system import FileSystem


@pytest.mark.parametrize("kind", [XFS, EXT4], ids=lambda kind: kind.name)
async def test_a_page_written_after_a_capture_began_moves_the_files_times(
    folder: Path, kind: FileSystem
) -> None:
    """Else a program that writes through a mapping would change what nobody reads again."""
    volume = LoopVolume(folder, PLAIN_LIMITS, clock=SystemClock(), preferred=[kind])
    await volume.create()
    active = await volume.attach() / "active"
    path = active / "upper/mapped"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as mapped:
        mapped[0] = 1
        await asyncio.to_thread(_tick, path)
        before = path.stat().st_ctime_ns
        mapped[0] = 2
        assert path.stat().st_ctime_ns == before, "the page waits for the disk already"
        async with LiveFiles(active, clock=SystemClock()).taken() as seen:
            assert seen == active
            mapped[0] = 3
        assert path.stat().st_ctime_ns > before
    await volume.detach()


def _tick(path: Path) -> None:
    """Wait until the file system's clock has moved on."""
    began = path.stat().st_ctime_ns
    other = path.with_name("tick")

    def has_moved() -> bool:
        other.touch()
        return other.stat().st_ctime_ns > began

    wait_for(has_moved, "a tick")
