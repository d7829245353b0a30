"""What nothing needs goes, at its time and not before; what is needed stays."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.format import names
from checkpoints.reading.verify import verify
from tests.support.checkpoint_rig import CHECKPOINT, read_back, seen, write_each, writer
from tests.support.collecting_store import keys_in, packs_in

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore, Calendar


async def generations(found: Repository, folder: Path, count: int) -> None:
    """Write generations that share nothing."""
    one = await writer(found)
    await write_each(one, folder, range(count))


async def test_superseded_generations_go_and_then_what_only_they_needed(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    await generations(found, tmp_path, 5)
    packs = await packs_in(store)
    first = await collect(found)
    assert first.deleted_records == 2
    assert [place.generation for place in await found.places(CHECKPOINT)] == [5, 4, 3]
    clock.pass_by(hours=24)
    second = await collect(found)
    assert second.unused_packs == 4  # of each of two, a data pack and a tree pack
    assert second.announced_packs == 0
    clock.pass_by(hours=4)
    third = await collect(found)
    assert third.announced_packs == 4
    assert await packs_in(store) == packs
    clock.pass_by(hours=24)
    fourth = await collect(found)
    assert fourth.deleted_packs == 4
    assert len(await packs_in(store)) == len(packs) - 4
    assert not await keys_in(store, names.TOMBSTONES)
    assert (await verify(found)).is_sound
    record = (await found.records(CHECKPOINT)).newest
    assert record is not None
    assert await read_back(found, record) == seen(tmp_path)


async def test_nothing_is_left_that_nothing_needs(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    await generations(found, tmp_path, 9)
    for _ in range(27):
        await collect(found)
        clock.pass_by(hours=3)
    outcome = await collect(found)
    assert not outcome.unused_packs
    assert outcome.next_at is None
    assert outcome.generations == 3
    assert len(await packs_in(store)) == 6
    assert len(await keys_in(store, names.COLLECTIONS)) <= 17
    assert not await keys_in(store, "probes/")


async def test_indexes_that_no_record_names_go(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Of a write that ended before its record; a record names those of the ones before it."""
    await generations(found, tmp_path, 2)
    index = await store.get("index/00000000000000c1/0000000001")
    left = "index/00000000000000c2/0000000001"
    await store.put_new(left, index)
    for hours, is_there in ((23, True), (1, True), (3, True), (1, False)):
        clock.pass_by(hours=hours)
        await collect(found)
        assert (left in await keys_in(store)) is is_there
    assert len(await keys_in(store, names.INDEXES)) == 2


@pytest.mark.parametrize("hours", [-100.0, 100.0])
async def test_the_collectors_own_clock_does_not_matter(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, hours: float
) -> None:
    """It is wrong by days, and each stage still comes at its time by the store's."""
    await generations(found, tmp_path, 4)
    clock.error = timedelta(hours=hours)
    stages = []
    for _ in range(60):
        outcome = await collect(found)
        stages.append((outcome.unused_packs, outcome.announced_packs, outcome.deleted_packs))
        clock.pass_by(hours=1)
    assert [number for number, stage in enumerate(stages) if stage[0]] == list(range(24, 53))
    assert [number for number, stage in enumerate(stages) if stage[1]] == [28]
    assert [number for number, stage in enumerate(stages) if stage[2]] == [52]


async def test_a_dry_run_changes_nothing_and_says_the_same(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    await generations(found, tmp_path, 4)
    for hours in (0, 24, 4, 24):
        clock.pass_by(hours=hours)
        before = await keys_in(store)
        dry = await collect(found, dry_run=True)
        assert await keys_in(store) == before
        real = await collect(found)
        assert (dry.announced_packs, dry.deleted_packs, dry.deleted_indexes) == (
            real.announced_packs,
            real.deleted_packs,
            real.deleted_indexes,
        )
        assert dry.deleted_records == real.deleted_records


async def test_foreign_names_are_left_alone(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    foreign = {"packs/aa/notes.txt", "meta/readme", "index/mine", "tombstones/a", "other/b"}
    for key in foreign:
        await store.put_new(key, b"mine")
    await generations(found, tmp_path, 4)
    for _ in range(5):
        clock.pass_by(hours=100)
        await collect(found)
    assert foreign <= await keys_in(store)
