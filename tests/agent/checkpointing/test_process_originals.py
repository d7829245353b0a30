"""What was written a moment ago is in memory, and is not read from the disk to be saved."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.volume.changes.point import UPPER
from tests.support.saver_rig import begun, saving, work_directory
from tests.support.volume_line import mounted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.volume_line import Mounted

MB = 1024**2
FILES = 20
FILE_BYTES = 2 * MB
LARGE_BYTES = 24 * MB


@pytest.fixture
def volume() -> Iterator[Mounted]:
    with mounted(512 * MB) as made:
        for number in range(FILES):
            (made.upper / f"{number}").write_bytes(random.Random(number).randbytes(FILE_BYTES))
        (made.upper / "large").write_bytes(random.Random(99).randbytes(LARGE_BYTES))
        yield made


@pytest.mark.parametrize("knows", [True, False], ids=["live files", "a snapshot alone"])
async def test_files_that_were_just_written_are_not_read_from_the_disk(
    tmp_path: Path, volume: Mounted, *, knows: bool
) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        with volume.snapshot() as snapshot:
            before = _from_disk(saver.pid)
            saved = await saver.write(
                snapshot / UPPER, originals=volume.upper if knows else None, changes=None
            )
            read_bytes = _from_disk(saver.pid) - before
    all_bytes = FILES * FILE_BYTES + LARGE_BYTES
    assert saved.file_bytes == all_bytes
    assert (read_bytes < all_bytes / 20) == knows


def _from_disk(pid: int | None) -> int:
    lines = Path(f"/proc/{pid}/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))
