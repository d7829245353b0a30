"""Which records go, and which fence for as long as they must."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given, strategies as st

from checkpoints.collecting.busy import StillWrittenError
from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.collecting.keeping import Seen, State, superfluous
from checkpoints.collecting.settings import Settings
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.reading.verify import verify
from checkpoints.writing.commit import FencedError
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    OTHER,
    Thing,
    fill,
    read_back,
    seen,
    write_each,
    writer,
)
from tests.support.collecting_store import keys_in, packs_in, repository_in
from tests.support.faulty_store import Cut, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore, Calendar

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SOUND, FINAL, LOSSY, SEAL, DELETION, DAMAGED = (
    State.SOUND, State.SOUND_AND_FINAL, State.LOSSY, State.SEAL, State.DELETION, State.DAMAGED,
)  # fmt: skip


def gone(*states: State, age: timedelta = timedelta(days=1)) -> list[int]:
    """Return which generations go of a checkpoint whose records are these, oldest first."""
    records = [
        Seen(Place(CHECKPOINT, Generation(number)), NOW - age, state)
        for number, state in enumerate(states, 1)
    ]
    return [place.generation for place in superfluous(records, NOW, Settings())]


def test_a_running_checkpoint_keeps_its_newest_three() -> None:
    assert gone(SOUND) == []
    assert gone(SOUND, SOUND, SOUND) == []
    assert gone(SOUND, SOUND, SOUND, SOUND, SOUND) == [1, 2]


def test_three_that_are_sound() -> None:
    assert gone(SOUND, SOUND, LOSSY, SOUND, SOUND) == [1]
    assert gone(SOUND, SOUND, DAMAGED, LOSSY, SOUND) == []
    assert gone(SOUND, DAMAGED, SOUND, SOUND, SOUND) == [1, 2]


def test_one_that_has_ended_keeps_its_last() -> None:
    assert gone(SOUND, SOUND, FINAL) == [1, 2]
    assert gone(SOUND, SOUND, SEAL) == [1]
    assert gone(SOUND, LOSSY, SEAL) == []
    assert gone(SOUND, SOUND, FINAL, SEAL, SEAL) == [1, 2]


def test_all_seals_stay_that_are_newer() -> None:
    """The first has the name that a writer who knows nothing of it would commit under."""
    assert gone(SOUND, SEAL, SEAL, SEAL, age=timedelta(days=1000)) == []


def test_seals_without_generations_go_after_ninety_days() -> None:
    assert gone(SEAL, SEAL, age=timedelta(days=90)) == []
    assert gone(SEAL, SEAL, age=timedelta(days=91)) == [1, 2]
    assert gone(SEAL, DAMAGED, age=timedelta(days=1000)) == []


def test_of_one_that_is_deleted_no_generation_stays() -> None:
    assert gone(SOUND, FINAL, DELETION) == [1, 2]
    assert gone(SOUND, DAMAGED, SEAL, DELETION) == [1, 2]
    assert gone(SEAL, SOUND, DELETION, SEAL) == [2]
    assert gone(SEAL, DELETION, SEAL, age=timedelta(days=91)) == [1, 2, 3]


@given(st.lists(st.sampled_from([each for each in State if each is not DELETION]), max_size=12))
def test_the_newest_stays_and_so_does_what_can_be_read(states: list[State]) -> None:
    going = gone(*states)
    assert going == sorted(going)
    assert not states or len(states) not in going
    sound = [n for n, state in enumerate(states, 1) if state in {SOUND, FINAL}]
    assert not sound or sound[-1] not in going
    assert going == list(range(1, len(going) + 1))


async def test_a_writer_that_was_away_is_fenced_after_any_number_of_collections(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    await write_each(one, tmp_path, range(4))
    for run in (2, 3, 4):
        await seal(found, CHECKPOINT, run_number=run)
    for _ in range(5):
        clock.pass_by(hours=24 * 50)
        await collect(found)
    assert len((await found.records(CHECKPOINT)).generations) == 1
    with pytest.raises(FencedError):
        await one.write(tmp_path)


async def test_a_deleted_checkpoint_is_gone_and_fenced_and_then_its_packs_go(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    fill(tmp_path, 1)
    await one.write(tmp_path)
    with pytest.raises(StillWrittenError):
        await delete_checkpoint(found, CHECKPOINT)
    assert (await delete_checkpoint(found, CHECKPOINT, even_if_written=True)).records == 1
    assert (await delete_checkpoint(found, CHECKPOINT)).records == 0
    assert (await delete_checkpoint(found, OTHER)).records == 0
    with pytest.raises(FencedError):
        await one.write(tmp_path)
    for hours in (24, 4, 24, 24 * 91, 1):
        await collect(found)
        clock.pass_by(hours=hours)
    assert not await packs_in(store)
    assert not await keys_in(store, "checkpoints/")
    assert not await keys_in(store, "index/")


async def test_what_was_started_from_a_deleted_checkpoint_keeps_all_it_needs(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    parents, volume = tmp_path / "parent", tmp_path / "volume"
    parents.mkdir()
    volume.mkdir()
    fill(parents, 1)
    parent = await (await writer(found, OTHER)).write(parents, final=True)
    one = await Writer.open(found, CHECKPOINT, run_number=2, parent=parent)
    await delete_checkpoint(found, OTHER)
    (volume / "file0").write_bytes(b"over what the base has")
    record = parent
    for number in range(8):
        (volume / "own").write_bytes(b"%d" % number * 1000)
        record = await one.write(volume)
        clock.pass_by(hours=25)
        assert not (await collect(found)).problems
    assert record.base is not None
    base = msgspec.structs.replace(record, tree=record.base)
    assert _content(await read_back(found, base)) == _content(seen(parents))
    assert (await verify(found)).is_sound


def _content(things: dict[bytes, Thing]) -> dict[bytes, object]:
    return {path: thing.content for path, thing in things.items()}


@pytest.mark.parametrize("operations", range(12))
async def test_a_deletion_may_end_anywhere(
    store: AgingStore, clock: Calendar, tmp_path: Path, operations: int
) -> None:
    faulty = FaultyStore(store)
    found = await repository_in(faulty, clock)
    one = await writer(found)
    await write_each(one, tmp_path, range(3))
    expected = seen(tmp_path)
    faulty.faults = Faults(cut_after=faulty.operations + operations)
    with suppress(Cut, BaseExceptionGroup):
        await delete_checkpoint(found, CHECKPOINT, even_if_written=True)
    faulty.faults = Faults()
    fresh = await repository_in(store, clock, seed=2)
    newest = (await fresh.records(CHECKPOINT)).newest
    assert newest is None or await read_back(fresh, newest) == expected
    await delete_checkpoint(fresh, CHECKPOINT, even_if_written=True)
    assert not (await fresh.records(CHECKPOINT)).generations
    with pytest.raises(FencedError):
        await one.write(tmp_path)
