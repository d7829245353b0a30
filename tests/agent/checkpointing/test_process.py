"""The process that saves files: it may end at any time, and nothing is lost."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing import orders
from agent.checkpointing.saver import (
    ParentBusyError,
    SaverDiedError,
    SupersededError,
)
from tests.support.checkpoint_rig import seen
from tests.support.saver_rig import (
    CHECKPOINT,
    OTHER,
    begun,
    is_alive,
    objects,
    record_of,
    saving,
    until,
    work_directory,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.checkpointing.facts import RestoreProgress, Saved, SaveProgress

MB = 1024**2


async def test_what_is_written_is_what_is_restored(tmp_path: Path, folder: Path) -> None:
    written: list[SaveProgress] = []
    made: list[RestoreProgress] = []
    async with saving(work_directory(tmp_path)) as saver:
        assert await saver.newest(CHECKPOINT) is None
        opened = await saver.open(CHECKPOINT, run_number=7, image="an image", parent=None)
        assert opened is None
        first = await saver.write(folder, changes=None, progress=written.append)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"", b"later"], final=True)
        assert (first.generation, saved.generation) == (1, 2)
        assert (saved.checkpoint_id, saved.run_number, saved.image) == (CHECKPOINT, 7, "an image")
        assert saved.final
        assert not first.final
        assert saved.entries == 4
        assert saved.file_bytes == 3 * MB + len("a note") + len("later")
        assert 0 < saved.stored_bytes < first.stored_bytes
        assert await saver.newest(CHECKPOINT) == saved
        assert await saver.newest(CHECKPOINT, before=2) == first
        assert await saver.newest(OTHER) is None
        restored = await saver.restore(saved, tmp_path / "restored", over=[], progress=made.append)
        assert (restored.entries, restored.file_bytes) == (saved.entries, saved.file_bytes)
        assert seen(tmp_path / "restored") == seen(folder)
    assert written[-1].read_bytes <= saved.file_bytes


async def test_a_run_goes_on_from_what_another_has_left(tmp_path: Path, folder: Path) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver, saving(where) as heir:
        await begun(saver)
        written = await saver.write(folder, changes=None)
        with pytest.raises(ParentBusyError) as busy:
            await heir.open(OTHER, run_number=2, image="", parent=written)
        assert busy.value.retry_helps
        parent = await heir.seal(CHECKPOINT, 2)
        assert parent == written
        assert await heir.seal(CHECKPOINT, 2) == parent, "again, as after a kill"
        first = await heir.open(OTHER, run_number=2, image="", parent=parent)
        assert first is not None
        assert (first.root, first.volume) == (parent.root, parent.volume + 1)
        with pytest.raises(SupersededError) as superseded:
            await saver.write(folder, changes=None)
        assert not superseded.value.retry_helps


async def test_the_next_call_after_a_kill_finds_everything_as_it_was(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        former = saver.pid
        assert former is not None
        os.kill(former, signal.SIGKILL)
        await until(lambda: saver.pid is None)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"", b"later"])
        assert saved.generation == 2
        assert saved.entries == 4
        assert saver.pid != former
        await saver.rest()
        assert saver.pid is None
        assert (await saver.sweep()).records == 0
        assert saver.pid is None, "who hasn't written has nothing to sweep"
        assert (await saver.write(folder, changes=[])).generation == 3


@pytest.mark.timeout(240)  # twelve starts of a process, on a machine that may be busy
async def test_killed_at_any_point_a_write_is_there_or_is_not(tmp_path: Path, folder: Path) -> None:
    where = work_directory(tmp_path)
    rng = random.Random(2)
    async with saving(where) as saver:
        await begun(saver)
        saved = await saver.write(folder, changes=None)
        for number in range(12):
            (folder / f"new{number}").write_bytes(rng.randbytes(rng.choice([10, MB, 9 * MB])))
            there, pid = objects(where), saver.pid
            assert pid is not None
            writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))

            def is_far_enough(
                writing: asyncio.Task[Saved] = writing, enough: int = there + number % 5
            ) -> bool:
                return objects(where) >= enough or writing.done()

            await until(is_far_enough)
            os.kill(pid, signal.SIGKILL)
            await asyncio.wait({writing})
            if died := writing.exception():
                assert isinstance(died, SaverDiedError)
                assert died.retry_helps
                assert "was killed" in str(died)
            while saver.pid == pid:  # a write that had not begun has taken a new one
                await asyncio.sleep(0.001)
            newest = await saver.newest(CHECKPOINT)
            assert newest is not None
            assert newest.generation in {saved.generation, saved.generation + 1}
            saved = await saver.write(folder, changes=[b"", f"new{number}".encode()])
        await saver.restore(saved, tmp_path / "restored", over=[])
    assert seen(tmp_path / "restored") == seen(folder)


async def test_a_list_of_changes_since_what_is_no_longer_stored_is_not_relied_on(
    tmp_path: Path, folder: Path
) -> None:
    where = work_directory(tmp_path)
    async with saving(where) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        (folder / "note").write_text("as in the second generation")
        second = await saver.write(folder, changes=None)
        await saver.rest()
        record_of(where, second.generation).unlink()
        (folder / "third").write_text("in the third")
        third = await saver.write(folder, changes=[b"", b"third"])
        await saver.restore(third, tmp_path / "restored", over=[])
    assert seen(tmp_path / "restored") == seen(folder)


async def test_more_changes_than_can_be_told_are_found_out(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        await saver.write(folder, changes=None)
        (folder / "later").write_text("later")
        saved = await saver.write(folder, changes=[b"x"] * (orders.CHANGES_MAX + 1))
        assert saved.entries == 4
        (folder / "last").write_text("last")
        told = [b"", b"last", *(b"nothing/%d" % number for number in range(60_000))]
        assert (await saver.write(folder, changes=told)).entries == 5


# ── Cancelling ───────────────────────────────────────────────────────────────


async def test_a_cancelled_write_ends_in_order_and_the_next_one_goes_on(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=50) as saver:
        await begun(saver)
        with (folder / "big").open("wb") as file:
            file.write(random.Random(3).randbytes(200 * MB))
        pid = saver.pid
        under_way = asyncio.Event()
        writing = asyncio.get_running_loop().create_task(
            saver.write(folder, changes=None, progress=lambda _: under_way.set())
        )
        await under_way.wait()
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert await saver.newest(CHECKPOINT) is None
        os.truncate(folder / "big", 10)
        assert (await saver.write(folder, changes=None)).entries == 4
        assert saver.pid == pid


async def test_cancelled_before_it_could_begin_it_ends_as_well(
    tmp_path: Path, folder: Path
) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=50) as saver:
        await begun(saver)
        pid = saver.pid
        for turns in range(6):
            writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
            for _ in range(turns):
                await asyncio.sleep(0)
            writing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await writing
        assert (await saver.write(folder, changes=None)).entries == 3
        assert saver.pid == pid


async def test_one_that_does_not_end_when_cancelled_is_killed(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path), cancel_seconds_max=0.05) as saver:
        await begun(saver)
        pid = saver.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
        await asyncio.sleep(0)
        writing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await writing
        assert not is_alive(pid)
        assert (await saver.write(folder, changes=None)).generation == 1


async def test_closing_ends_what_is_under_way(tmp_path: Path, folder: Path) -> None:
    async with saving(work_directory(tmp_path)) as saver:
        await begun(saver)
        pid = saver.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        writing = asyncio.get_running_loop().create_task(saver.write(folder, changes=None))
        waiting = asyncio.get_running_loop().create_task(saver.rest())
        await asyncio.sleep(0)
        await saver.close()
        await waiting
        with pytest.raises(SaverDiedError):
            await writing
        with pytest.raises(SaverDiedError, match="was ended") as ended:
            await saver.newest(CHECKPOINT)
        assert not ended.value.retry_helps
        assert not is_alive(pid)
