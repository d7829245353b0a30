"""What can't be read is named, and nothing is deleted that it might need."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.format import names
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.format.pack import PackKind
from checkpoints.reading.verify import verify
from checkpoints.storage.failures import StorageError
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    OTHER,
    fill,
    read_back,
    seen,
    write_each,
    writer,
)
from tests.support.collecting_store import keys_in, packs_in, repository_in
from tests.support.faulty_store import Fault, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.repository import Repository
    from tests.support.collecting_store import AgingStore, Calendar


@pytest.fixture
async def ripe(found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path) -> Repository:
    """Five generations of which two are superseded: of one, the next collection deletes packs.

    And another announces those of the other. The first checkpoint has an index of its own.
    """
    other = await writer(found, OTHER)
    fill(tmp_path, 100)
    await other.write(tmp_path, final=True)
    one = await writer(found)
    await write_each(one, tmp_path, range(4))
    for hours in (24, 4):
        await collect(found)
        clock.pass_by(hours=hours)
    fill(tmp_path, 4)
    await one.write(tmp_path)
    await collect(found)
    clock.pass_by(hours=24)
    assert len(await keys_in(store, names.TOMBSTONES)) == 2
    return found


async def everything_is_kept(found: Repository, store: AgingStore, problem: str) -> None:
    """Collect; check that it says what is wrong and touches neither packs nor indexes."""
    before = await keys_in(store)
    outcome = await collect(found)
    assert outcome.is_blocked
    assert any(problem in each for each in outcome.problems), outcome.problems
    after = await keys_in(store)
    assert {key for key in before if not key.startswith(names.RECORDS)} == {
        key for key in after if not key.startswith(names.RECORDS)
    }


async def test_a_collection_deletes_something_when_nothing_is_damaged(
    ripe: Repository, store: AgingStore
) -> None:
    """Or the tests below would show nothing."""
    outcome = await collect(ripe)
    assert outcome.deleted_packs == 2
    assert outcome.unused_packs == 4
    assert (await verify(ripe)).is_sound


async def test_while_a_record_is_damaged_nothing_goes(
    ripe: Repository, store: AgingStore, clock: Calendar
) -> None:
    key = names.record(Place(OTHER, Generation(1)))
    whole = await store.get(key)
    await store.replace(key, whole[:-10])
    await everything_is_kept(ripe, store, key)
    clock.pass_by(hours=30)
    await everything_is_kept(ripe, store, key)
    await store.replace(key, whole)
    assert (await collect(ripe)).deleted_packs == 2
    assert (await verify(ripe)).is_sound


async def test_a_superseded_record_that_is_damaged_goes(
    ripe: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """So that it is in nobody's way for longer than it would have been kept."""
    key = names.record(Place(CHECKPOINT, Generation(3)))
    await store.replace(key, b"nonsense\n")
    await everything_is_kept(ripe, store, key)
    one = await writer(ripe)
    await write_each(one, tmp_path, (5, 6))
    await everything_is_kept(ripe, store, key)
    assert key not in await keys_in(store)
    assert (await collect(ripe)).deleted_packs == 2


async def test_while_an_index_is_damaged_nothing_goes(ripe: Repository, store: AgingStore) -> None:
    key = names.index(Place(OTHER, Generation(1)))
    data = await store.get(key)
    await store.replace(key, data[:-1] + bytes([data[-1] ^ 1]))
    await everything_is_kept(ripe, store, key)


async def test_while_an_index_is_missing_nothing_goes(ripe: Repository, store: AgingStore) -> None:
    key = names.index(Place(OTHER, Generation(1)))
    await store.delete(key)
    await everything_is_kept(ripe, store, key)


async def test_while_a_list_of_moved_chunks_is_damaged_nothing_goes(
    ripe: Repository, store: AgingStore
) -> None:
    key = names.moved(next(iter((await ripe.index(Place(OTHER, Generation(1)))).packs)).pack_id)
    await store.put_new(key, b"STIX but not really")
    await everything_is_kept(ripe, store, key)


async def test_where_a_node_is_damaged_all_that_its_indexes_list_is_kept(
    ripe: Repository, store: AgingStore, clock: Calendar
) -> None:
    """And what is surely not needed goes all the same."""
    record = await ripe.record(Place(OTHER, Generation(1)))
    index = await ripe.index(record.place)
    for pack in index.packs:
        if pack.kind is PackKind.TREE:
            await store.replace(names.pack(pack.kind, pack.pack_id), bytes(pack.object_bytes))
    outcome = await collect(ripe)
    assert names.record(record.place) in outcome.problems[0]
    assert outcome.deleted_packs == 2
    for _ in range(5):
        clock.pass_by(hours=30)
        await collect(ripe)
    for pack in index.packs:
        assert names.pack(pack.kind, pack.pack_id) in await packs_in(store)


async def test_a_generation_that_lost_something_does_not_supersede_the_one_before(
    found: Repository, store: AgingStore, tmp_path: Path
) -> None:
    one = await writer(found)
    fill(tmp_path, 1)
    second = await one.write(tmp_path)
    kept, packs = seen(tmp_path), await packs_in(store)
    fill(tmp_path, 2)
    await one.write(tmp_path, final=True)
    for key in await packs_in(store) - packs:
        await store.delete(key)
    outcome = await collect(found)
    assert "is nowhere" in outcome.problems[0]
    assert [place.generation for place in await found.places(CHECKPOINT)] == [2, 1]
    assert await read_back(found, second) == kept


async def test_damaged_findings_only_cost_time(
    ripe: Repository, store: AgingStore, clock: Calendar
) -> None:
    for key in await keys_in(store, names.COLLECTIONS):
        await store.replace(key, b"{}\n")
    outcome = await collect(ripe)
    assert not outcome.is_blocked
    assert not outcome.deleted_packs
    assert names.COLLECTIONS in outcome.problems[0]
    clock.pass_by(hours=4)
    assert (await collect(ripe)).deleted_packs == 2


async def test_refused_deletions_are_counted_and_tried_again(
    ripe: Repository, store: AgingStore, clock: Calendar
) -> None:
    refusing = FaultyStore(store, Faults(may_delete=False))
    other = await repository_in(refusing, clock, seed=7)
    packs = await packs_in(store)
    for _ in range(3):
        outcome = await collect(other)
        assert outcome.refused >= 2
        assert outcome.refusal
        assert not outcome.deleted_packs
        clock.pass_by(hours=5)
    assert await packs_in(store) == packs
    assert (await verify(ripe)).is_sound
    assert (await collect(ripe)).deleted_packs >= 2
    assert (await verify(ripe)).is_sound


FAULTS = [
    Fault.ERROR_500, Fault.TIMEOUT_AFTER, Fault.FLIPPED_BIT, Fault.TRUNCATED, Fault.NOT_PERMITTED,
]  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
async def test_after_any_fault_everything_reads_and_the_next_collection_ends_the_job(
    ripe: Repository, store: AgingStore, clock: Calendar, tmp_path: Path, fault: Fault
) -> None:
    """With nobody who tries again. Each operation meets one of these faults or another."""
    expected = seen(tmp_path)
    number = FAULTS.index(fault)
    while True:
        copy = await store.copy()
        faulty = FaultyStore(copy)
        found = await repository_in(faulty, clock, seed=number + 50)
        faulty.faults = Faults(script={faulty.operations + number: fault})
        with suppress(StorageError):
            await collect(found)
        if not faulty.met:
            break
        fresh = await repository_in(copy, clock, seed=number + 1000)
        record = (await fresh.records(CHECKPOINT)).newest
        assert record is not None
        assert await read_back(fresh, record) == expected
        assert (await verify(fresh)).is_sound
        number += len(FAULTS)
    assert number > 15


@pytest.mark.parametrize("where", ["reading", "writing"])
async def test_a_cancelled_collection_leaves_no_thread(
    ripe: Repository, store: AgingStore, clock: Calendar, where: str
) -> None:
    """Whatever it waits for, the store may never answer."""
    stuck = _Stuck(store)
    found = await repository_in(stuck, clock, seed=5)
    clock.pass_by(hours=24 * 8)
    stuck.stuck_at = where
    work = asyncio.get_running_loop().create_task(collect(found))
    await stuck.reached.wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    for thread in threading.enumerate():
        if thread.name.startswith("checkpoint"):
            await asyncio.to_thread(thread.join, 10)
            assert not thread.is_alive()


class _Stuck(FaultyStore):
    """Reads or writes of packs never end."""

    def __init__(self, inner: AgingStore) -> None:
        super().__init__(inner)
        self.stuck_at = ""
        self.reached = asyncio.Event()

    async def get_range(self, key: str, start: int, length: int) -> bytes | memoryview:
        await self._wait("reading")
        return await super().get_range(key, start, length)

    async def put_new(self, key: str, data: bytes) -> None:
        if names.parse_pack(key):
            await self._wait("writing")
        await super().put_new(key, data)

    async def _wait(self, where: str) -> None:
        if self.stuck_at == where:
            self.reached.set()
            await asyncio.Event().wait()
