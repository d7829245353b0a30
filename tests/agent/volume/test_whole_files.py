"""A copy of the volume has no file that was never seen so: half written, under its last name."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.session_spec import VolumeLimits

FILE_BYTES = 3000
"""More than btrfs keeps beside the name."""
SNAPSHOTS = 8
WRITE = f"""
import itertools, os, sys
os.chdir(sys.argv[1])
for number in itertools.count():
    with open("unfinished", "wb") as file:
        file.write(bytes({FILE_BYTES}))
    os.rename("unfinished", str(number % 3000))
"""


@asynccontextmanager
async def programs_that_write_and_rename(*folders: Path) -> AsyncIterator[None]:
    """As git, editors and installers do, without fsync."""
    started = []
    try:
        for folder in folders:
            folder.mkdir()
            command = (sys.executable, "-c", WRITE, folder)
            started.append(await asyncio.create_subprocess_exec(*command))
        yield
    finally:
        for process in started:
            process.kill()
            await process.wait()


@pytest.fixture
async def volume(folder: Path, limits: VolumeLimits) -> AsyncIterator[LoopVolume]:
    made = LoopVolume(folder, limits, clock=SystemClock())
    await made.create()
    await made.attach()
    yield made
    await made.detach()


def sizes(folder: Path) -> dict[str, int]:
    found = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    found.pop("unfinished", None)
    return found


def options(folder: Path) -> str:
    lines = Path("/proc/self/mounts").read_text().splitlines()
    [line] = [line for line in lines if str(folder) in line]
    return line


async def test_what_was_renamed_after_it_was_written_is_whole(volume: LoopVolume) -> None:
    upper = volume.mount_point / "active/upper"
    async with programs_that_write_and_rename(upper / "a", upper / "b"):
        while min(len(os.listdir(upper / name)) for name in "ab") < 100:
            await asyncio.sleep(0.05)
        for _ in range(SNAPSHOTS):
            await asyncio.sleep(0.3)
            copy = await volume.snapshot("copy")
            for name in "ab":
                found = sizes(copy / "upper" / name)
                assert len(found) > 90
                assert {name: size for name, size in found.items() if size != FILE_BYTES} == {}
            await volume.drop_snapshot("copy")
    assert "flushoncommit" not in options(volume.mount_point), "programs don't wait all the time"
