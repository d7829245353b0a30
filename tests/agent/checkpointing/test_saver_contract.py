"""What every saver promises: the process of the agent's, and the one in memory that tests use."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.checkpointing.process import SaverProcess
from agent.checkpointing.saver import (
    ParentBusyError,
    ParentGoneError,
    SaverDiedError,
    SupersededError,
)
from common.clock import SystemClock
from tests.support.fake_saver import FakeSaver, FakeStore
from tests.support.saver_rig import CHECKPOINT, OTHER, work_directory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.checkpointing.saver import Saver

    Two = Callable[[], AbstractAsyncContextManager[tuple[Saver, Saver]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is saved."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "note").write_text("a note")
    return path


@pytest.fixture(params=["process", "fake"])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Two:
    """Savers with one work directory."""

    @asynccontextmanager
    async def made() -> AsyncIterator[tuple[Saver, Saver]]:
        async with AsyncExitStack() as stack:
            store, where = FakeStore(), work_directory(tmp_path)

            def new() -> Saver:
                if request.param == "process":
                    return SaverProcess(where)
                return FakeSaver(store, clock=SystemClock())

            savers = new(), new()
            for saver in savers:
                stack.push_async_callback(saver.close)
            yield savers

    return made


async def test_what_is_written_is_what_is_restored(two: Two, folder: Path, tmp_path: Path) -> None:
    async with two() as (saver, other):
        assert await saver.newest(CHECKPOINT) is None
        opened = await saver.open(CHECKPOINT, run_number=7, image="an image", parent=None)
        assert opened is None
        first = await saver.write(folder, changes=None)
        (folder / "later").write_text("later")
        last = await saver.write(folder, changes=[b"", b"later"], final=True)
        assert (first.checkpoint_id, first.run_number, first.image) == (CHECKPOINT, 7, "an image")
        assert (first.generation, last.generation) == (1, 2)
        assert (first.final, last.final) == (False, True)
        assert (last.entries, last.file_bytes) == (3, len("a note") + len("later"))
        assert first.root != last.root
        assert await other.newest(CHECKPOINT) == last
        assert await other.newest(CHECKPOINT, before=2) == first
        into = tmp_path / "restored"
        into.mkdir()
        restored = await other.restore(first, into, over=[])
        assert restored.entries == first.entries
        assert [path.name for path in into.iterdir()] == ["note"]


async def test_whoever_takes_over_has_the_last_and_the_other_writes_no_more(
    two: Two, folder: Path
) -> None:
    async with two() as (saver, heir):
        await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        written = await saver.write(folder, changes=None)
        with pytest.raises(ParentBusyError) as busy:
            await heir.open(OTHER, run_number=2, image="", parent=written)
        assert busy.value.retry_helps
        assert await heir.seal(CHECKPOINT, 2) == written
        assert await heir.seal(CHECKPOINT, 2) == written, "again, as after a kill"
        first = await heir.open(OTHER, run_number=2, image="", parent=written)
        assert first is not None
        assert (first.generation, first.root, first.volume) == (1, written.root, 1)
        for _ in range(2):
            with pytest.raises(SupersededError) as superseded:
                await saver.write(folder, changes=None)
            assert not superseded.value.retry_helps
        with pytest.raises(SupersededError):
            await saver.seal(CHECKPOINT, 1)
        with pytest.raises(SupersededError):
            await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        assert await saver.newest(CHECKPOINT) == written


async def test_a_volume_is_written_over_what_its_checkpoint_began_with(
    two: Two, folder: Path, tmp_path: Path
) -> None:
    volume = tmp_path / "volume"
    volume.mkdir()
    (volume / "later").write_text("later")
    async with two() as (saver, heir):
        await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        parent = await saver.write(folder, changes=None, final=True)
        await heir.open(OTHER, run_number=2, image="", parent=parent)
        both = await heir.write(volume, changes=None)
        (volume / "later").unlink()
        begun_again = await heir.open(OTHER, run_number=2, image="", parent=parent)
        assert begun_again == both
        one = await heir.write(volume, changes=None)
    assert both.entries == 3
    assert one.entries == 2


async def test_what_has_its_final_generation_is_not_written_any_more(
    two: Two, folder: Path
) -> None:
    async with two() as (saver, other):
        await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        last = await saver.write(folder, changes=None, final=True)
        with pytest.raises(SupersededError):
            await saver.write(folder, changes=None)
        with pytest.raises(SupersededError):
            await other.open(CHECKPOINT, run_number=5, image="", parent=None)
        assert await other.seal(CHECKPOINT, 5) == last


async def test_what_is_not_there_can_be_neither_sealed_nor_continued(
    two: Two, folder: Path
) -> None:
    async with two() as (saver, other):
        with pytest.raises(ParentGoneError):
            await saver.seal(CHECKPOINT, 1)
        await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        assert await other.seal(OTHER, 1) is None
        written = await saver.write(folder, changes=None, final=True)
        missing = msgspec.structs.replace(written, checkpoint_id="00000000000000c3")
        with pytest.raises(ParentGoneError):
            await other.open("00000000000000c4", run_number=2, image="", parent=missing)


async def test_one_that_rests_goes_on_and_one_that_is_closed_does_not(
    two: Two, folder: Path
) -> None:
    async with two() as (saver, _):
        await saver.open(CHECKPOINT, run_number=1, image="", parent=None)
        await saver.write(folder, changes=None)
        await saver.sweep()
        await saver.rest()
        assert (await saver.sweep()).records == 0, "who hasn't written has nothing to sweep"
        assert (await saver.write(folder, changes=[])).generation == 2
        await saver.close()
        await saver.close()
        with pytest.raises(SaverDiedError) as closed:
            await saver.newest(CHECKPOINT)
        assert not closed.value.retry_helps
