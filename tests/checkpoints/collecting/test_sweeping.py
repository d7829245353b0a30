"""What a run supersedes goes while it runs, and nothing else does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.collecting.sweeping import Sweeper, SweepSettings
from checkpoints.format import names
from checkpoints.format.ids import Generation
from checkpoints.reading.verify import verify
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    OTHER,
    fill,
    read_back,
    seen,
    write_each,
    writer,
)
from tests.support.collecting_store import bytes_in, keys_in, packs_in, repository_in
from tests.support.faulty_store import Faults, FaultyStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore, Calendar

EVERYTHING = SweepSettings(written_bytes_min=1, written_share_min=0.0)
MEGABYTE = 1_000_000


@pytest.mark.parametrize(
    "hours", [8, pytest.param(24, marks=(pytest.mark.soak, pytest.mark.timeout(300)))]
)
async def test_hours_of_rewriting_everything_stay_below_three_times_what_is_kept(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, hours: int
) -> None:
    """A megabyte stands for a gigabyte; every five minutes, with a collection each hour."""
    one = await writer(found)
    sweeper = Sweeper(found, one, SweepSettings(written_bytes_min=64_000))
    rng = random.Random(1)
    for number in range(hours * 12):
        for part in range(4):
            (tmp_path / f"part{part}").write_bytes(rng.randbytes(MEGABYTE // 4))
        await one.write(tmp_path)
        assert await bytes_in(store) <= 3 * min(number + 1, 3) * MEGABYTE
        await sweeper.sweep()
        if number % 12 == 0:
            assert not (await collect(found)).problems
        assert await bytes_in(store) <= 3 * min(number + 1, 3) * MEGABYTE
        clock.pass_by(seconds=300)
    record = (await found.records(CHECKPOINT)).newest
    assert record is not None
    assert await read_back(found, record) == seen(tmp_path)
    assert (await verify(found)).is_sound


async def test_packs_go_ten_minutes_after_their_tombstones(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    sweeper = Sweeper(found, one, EVERYTHING)
    await write_each(one, tmp_path, range(4))
    packs = await packs_in(store)
    swept = await sweeper.sweep()
    assert (swept.records, swept.announced, swept.deleted) == (1, 2, 0)
    clock.pass_by(seconds=599)
    assert not (await sweeper.sweep()).deleted
    assert await packs_in(store) == packs
    clock.pass_by(seconds=1)
    assert (await sweeper.sweep()).deleted == 2
    assert len(await packs_in(store)) == 6
    assert not await keys_in(store, names.TOMBSTONES)


async def test_tombstones_that_stood_for_long_are_left_to_a_collection(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """The process may have slept, and a collection have taken them away."""
    _, sweeper = await _with_tombstones(found, tmp_path)
    clock.pass_by(hours=1.1)
    assert not (await sweeper.sweep()).deleted
    assert len(await packs_in(store)) == 8


@pytest.mark.parametrize("ended", ["sealed", "final", "another's"])
async def test_nothing_goes_any_more_once_the_checkpoint_is_somebody_elses(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, ended: str
) -> None:
    one, sweeper = await _with_tombstones(found, tmp_path)
    if ended == "sealed":
        await seal(await repository_in(store, clock, seed=2), CHECKPOINT, run_number=2)
    elif ended == "final":
        await one.write(tmp_path, final=True)
    else:
        two = await Writer.open(found, CHECKPOINT, run_number=2)
        await two.write(tmp_path)
    packs = await keys_in(store)
    clock.pass_by(seconds=600)
    for _ in range(2):
        swept = await sweeper.sweep()
        assert (swept.deleted, swept.announced, swept.records) == (0, 0, 0)
        clock.pass_by(seconds=600)
    assert await keys_in(store) == packs


async def test_who_continues_a_checkpoint_relies_on_nothing_that_its_sweeper_deletes(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """The sweeper is between its look and its deletions when the other run begins."""
    fill(tmp_path, 0)
    old = seen(tmp_path)
    _, sweeper = await _with_tombstones(found, tmp_path)
    clock.pass_by(seconds=600)
    deletions = _Before(found.storage)
    sweeper._storage = deletions
    there = tmp_path.parent / "other"
    there.mkdir()

    async def continue_it() -> None:
        theirs = await repository_in(store, clock, seed=2)
        parent = await seal(theirs, CHECKPOINT, run_number=2)
        two = await Writer.open(theirs, OTHER, run_number=2, parent=parent)
        fill(there, 0)  # what the packs have that are about to go
        await two.write(there)

    deletions.act = continue_it
    assert (await sweeper.sweep()).deleted
    newest = (await found.records(OTHER)).newest
    assert newest is not None
    things = await read_back(found, newest)
    assert {path: things[path].content for path in things if path} == {
        path: old[path].content for path in old if path
    }
    assert (await verify(found)).is_sound


async def test_packs_of_a_base_are_left_alone(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    parents = tmp_path / "parent"
    parents.mkdir()
    fill(parents, 1)
    one = await writer(found, OTHER)
    parent = await one.write(parents, final=True)
    theirs = await packs_in(store)
    two = await Writer.open(found, CHECKPOINT, run_number=2, parent=parent)
    sweeper = Sweeper(found, two, EVERYTHING)
    volume = tmp_path / "volume"
    volume.mkdir()
    for seed in range(8):
        (volume / "own").write_bytes(random.Random(seed).randbytes(100_000))
        await two.write(volume)
        await sweeper.sweep()
        clock.pass_by(seconds=300)
    assert theirs <= await packs_in(store)
    assert len(await packs_in(store)) < len(theirs) + 2 * 8
    assert (await verify(found)).is_sound


async def test_what_comes_again_is_stored_again(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    sweeper = Sweeper(found, one, EVERYTHING)
    for seed in (0, 1, 2, 3, 0, 4, 0, 1, 2, 3):
        fill(tmp_path, seed)
        record = await one.write(tmp_path)
        await sweeper.sweep()
        assert await read_back(found, record) == seen(tmp_path)
        clock.pass_by(seconds=300)
    assert (await verify(found)).is_sound


async def test_a_refused_deletion_is_counted_and_left_to_a_collection(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    faulty = FaultyStore(store)
    found = await repository_in(faulty, clock)
    _, sweeper = await _with_tombstones(found, tmp_path)
    clock.pass_by(seconds=600)
    faulty.faults = Faults(may_delete=False)
    swept = await sweeper.sweep()
    assert swept.refused >= 2
    assert not swept.deleted
    assert (await verify(found)).is_sound
    faulty.faults = Faults()
    for _ in range(4):
        clock.pass_by(hours=25)
        await collect(found)
    assert len(await packs_in(store)) == 6
    assert not await keys_in(store, names.TOMBSTONES)


async def test_with_a_damaged_tree_nothing_is_swept(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    one = await writer(found)
    await write_each(one, tmp_path, range(4))
    third = await found.record((await found.places(CHECKPOINT))[1])
    assert third.tree is not None
    place = (await found.chunks(third)).place(third.tree.root_id)
    key = names.pack(place.pack.kind, place.pack.pack_id)
    await store.replace(key, bytes(place.pack.object_bytes))
    sweeper = Sweeper(found, one, EVERYTHING)
    swept = await sweeper.sweep()
    assert not swept.announced
    assert swept.records == 1


async def _with_tombstones(found: Repository, folder: Path) -> tuple[Writer, Sweeper]:
    """Return a writer that has superseded a generation, and announced its packs."""
    one = await writer(found)
    sweeper = Sweeper(found, one, EVERYTHING)
    await write_each(one, folder, range(4))
    assert (await sweeper.sweep()).announced == 2
    assert one.previous is not None
    assert one.previous.generation == Generation(4)
    return one, sweeper


class _Before(FaultyStore):
    """Lets something happen right before the first deletion of a pack."""

    act: Callable[[], Awaitable[None]] | None = None

    async def delete(self, key: str) -> None:
        if names.parse_pack(key) and self.act is not None:
            act, self.act = self.act, None
            await act()
        await super().delete(key)
