"""What goes wrong is told by what happened, in a sentence, and ends nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import structlog

from agent.checkpointing.saver import (
    DamagedCheckpointError,
    NoRoomError,
    ParentGoneError,
    SaverDiedError,
    SaveRefusedError,
    StorageTroubleError,
)
from common.session_spec import WorkDirectory
from tests.support.full_disk import small_disk
from tests.support.saver_rig import (
    CHECKPOINT,
    OTHER,
    begun,
    record_of,
    repository_of,
    saving,
    work_directory,
)

if TYPE_CHECKING:
    from pathlib import Path


MB = 1024**2


async def test_a_work_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    async with saving(WorkDirectory(url=f"file://{tmp_path}/nowhere")) as saver:
        with pytest.raises(StorageTroubleError, match="nowhere doesn't exist") as missing:
            await begun(saver)
        assert not missing.value.retry_helps
    async with saving(WorkDirectory(url="http://nothing")) as saver:
        with pytest.raises(StorageTroubleError, match="not an address"):
            await begun(saver)


async def test_an_empty_work_directory_is_no_parent_without_files(tmp_path: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        with pytest.raises(ParentGoneError, match="no checkpoints in this work directory"):
            await saver.seal(CHECKPOINT, 2)


async def test_a_deleted_parent_is_missed_only_by_a_run_that_needs_it(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        parent = await saver.write(folder, changes=None, final=True)
        await saver.open(OTHER, run_number=2, image="", parent=parent)
        record_of(where, parent.generation).unlink()
        upper = tmp_path / "upper"
        upper.mkdir()
        await saver.rest()
        assert (await saver.write(upper, changes=None)).entries == parent.entries
        with pytest.raises(ParentGoneError, match="was deleted"):
            await saver.open("00000000000000c3", run_number=3, image="", parent=parent)
        with pytest.raises(ParentGoneError, match="was deleted"):
            await saver.restore(parent, tmp_path / "restored", over=[])


async def test_a_record_that_is_damaged_is_passed_over_and_named(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        first = await saver.write(folder, changes=None)
        second = await saver.write(folder, changes=[])
        record = record_of(where, second.generation)
        record.chmod(0o600)
        record.write_bytes(b"not what was written")
        found = await saver.newest(CHECKPOINT)
        assert found is not None
        assert (found.generation, found.root) == (first.generation, first.root)
        assert len(found.passed_over) == 1
        assert "0000000002" in found.passed_over[0]
        sealed = await saver.seal(CHECKPOINT, 2)
        assert sealed == found


async def test_damaged_files_are_not_restored_and_the_next_step_is_named(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        saved = await saver.write(folder, changes=None)
        for pack in repository_of(where).glob("packs/*/*"):
            data = bytearray(pack.read_bytes())
            data[1000] ^= 1
            pack.chmod(0o600)
            pack.write_bytes(data)
        with pytest.raises(DamagedCheckpointError, match="studios checkpoints verify"):
            await saver.restore(saved, tmp_path / "restored", over=[])


async def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        with pytest.raises(SaveRefusedError, match="nowhere"):
            await saver.write(tmp_path / "nowhere", changes=None)
        saved = await saver.write(folder, changes=None)
        with pytest.raises(SaveRefusedError, match="not empty"):
            await saver.restore(saved, folder, over=[])
        (small := tmp_path / "small").mkdir()
        with small_disk(small, size_bytes=MB), pytest.raises(NoRoomError, match="No space left"):
            await saver.restore(saved, small, over=[])


async def test_a_bug_ends_it_with_its_traceback_in_the_log(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        with structlog.testing.capture_logs() as logs, pytest.raises(SaverDiedError, match="70"):
            await saver.seal("no id at all", 1)
        failed = next(log for log in logs if log["event"] == "checkpoint_process_failed")
        assert failed["log_level"] == "error"
        assert "no id at all" in str(failed["traceback"])
        await begun(saver)
        assert (await saver.write(folder, changes=None)).generation == 1


async def test_what_it_logs_is_in_the_agents_log(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        with structlog.testing.capture_logs() as logs:
            await saver.seal(CHECKPOINT, 2)
            await saver.rest()
        sealed = next(log for log in logs if log["event"] == "checkpoint_sealed")
        assert sealed["log_level"] == "info"
        assert sealed["generation"] == 2
