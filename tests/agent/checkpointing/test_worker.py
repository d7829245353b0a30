"""What the process does for each order, without the process around it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from agent.checkpointing.orders import SaveUnderway
from agent.checkpointing.worker.work import Work
from common.clock import SystemClock
from common.session_spec import WorkDirectory
from tests.support.checkpoint_rig import seen
from tests.support.s3_servers import BUCKET, CREDENTIALS, moto_server
from tests.support.saver_rig import CHECKPOINT, begun, saving, work_directory

if TYPE_CHECKING:
    from pathlib import Path

    from agent.checkpointing.orders import Underway

MB = 1024**2


def work_on(where: WorkDirectory) -> Work:
    return Work(where, clock=SystemClock(), rng=random.Random(1))


async def test_one_file_that_takes_long_to_arrive_is_progress_all_the_same(
    tmp_path: Path,
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "large").write_bytes(random.Random(1).randbytes(64 * MB))
    work = work_on(work_directory(tmp_path))
    await work.open(CHECKPOINT, 1, "", None)
    told: list[Underway] = []
    await work.write(str(files), None, 0, final=False, say=told.append)
    assert len(told) >= 8, "of 8 MB or a little more each"
    progress = [each.progress for each in told if isinstance(each, SaveUnderway)]
    assert progress == sorted(progress, key=lambda each: (each.entries, each.stored_bytes))
    assert progress[-1].entries == 2


async def test_what_was_superseded_is_swept_up_and_more_is_waited_for(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    rng = random.Random(1)
    work = work_on(work_directory(tmp_path))
    await work.open(CHECKPOINT, 1, "", None)
    for number in range(6):
        (files / "rewritten").write_bytes(rng.randbytes(16 * MB))
        await work.write(str(files), None, number, final=False, say=lambda _: None)
    swept = await work.sweep()
    assert swept.records == 3
    assert swept.is_waiting
    assert swept.refused == 0


async def test_a_bucket_is_reached_with_the_credentials_of_the_run(
    tmp_path: Path, folder: Path
) -> None:
    with moto_server() as endpoint:
        where = WorkDirectory(
            url=f"s3://{BUCKET}/some/path", credentials=dict(CREDENTIALS), endpoint=endpoint
        )
        async with saving(where) as saver:
            await begun(saver)
            saved = await saver.write(folder, changes=None)
            await saver.restore(saved, tmp_path / "restored", over=[])
    assert seen(tmp_path / "restored") == seen(folder)
