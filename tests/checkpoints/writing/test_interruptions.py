"""Whatever happens to a writer or its store: a generation is there whole, or it isn't there."""

from __future__ import annotations

import asyncio
import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.storage.failures import StorageAwayError, StorageError, StorageFullError
from checkpoints.storage.retrying import Retrying, RetryPolicy
from checkpoints.writing.commit import FencedError
from checkpoints.writing.sealing import seal
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    OTHER,
    Clock,
    fill,
    memory,
    read_back,
    repository,
    seen,
    writer,
)
from tests.support.faulty_store import PASSING, Cut, Fault, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.storage.storage import Storage

FIRST = Place(CHECKPOINT, Generation(1))
SECOND = Place(CHECKPOINT, Generation(2))
OPERATIONS = range(15)
"""More than a second write has: the last ones change nothing."""


async def newest(storage: Storage) -> Record:
    record = (await (await repository(storage)).records(CHECKPOINT)).newest
    assert record is not None
    return record


@pytest.mark.parametrize("operations", OPERATIONS)
async def test_a_writer_that_ends_anywhere_leaves_the_old_or_the_new(
    tmp_path: Path, operations: int
) -> None:
    bare = memory()
    store = FaultyStore(bare)
    one = await writer(await repository(store))
    fill(tmp_path, 1)
    old_record = await one.write(tmp_path)
    old = seen(tmp_path)
    fill(tmp_path, 2)
    store.faults = Faults(cut_after=store.operations + operations)
    with suppress(Cut):
        await one.write(tmp_path)
    found = await repository(bare, seed=2)
    record = await newest(bare)
    expected = old if record == old_record else seen(tmp_path)
    assert await read_back(found, record) == expected
    # Another goes on from there, whatever was left.
    fill(tmp_path, 3)
    record = await (await writer(found)).write(tmp_path)
    assert await read_back(found, record) == seen(tmp_path)


async def test_a_cut_can_be_before_and_after_the_commit(tmp_path: Path) -> None:
    """Or the test above would not be about both."""
    store = FaultyStore(memory())
    one = await writer(await repository(store))
    fill(tmp_path, 1)
    await one.write(tmp_path)
    before = store.operations
    fill(tmp_path, 2)
    await one.write(tmp_path)
    assert 4 <= store.operations - before < max(OPERATIONS)


@pytest.mark.parametrize("operations", OPERATIONS)
async def test_a_sealed_writer_never_commits(tmp_path: Path, operations: int) -> None:
    """The seal comes before each of the writer's operations in turn."""
    bare = memory()
    store = FaultyStore(bare)
    one = await writer(await repository(store))
    fill(tmp_path, 1)
    await one.write(tmp_path)
    fill(tmp_path, 2)
    store.faults = Faults(cut_after=store.operations + operations)
    with suppress(Cut):
        await one.write(tmp_path)
    restored = await seal(await repository(bare, seed=2), CHECKPOINT, run_number=2)
    store.faults = Faults()
    with pytest.raises(FencedError):
        await one.write(tmp_path)
    with pytest.raises(FencedError):
        await one.write(tmp_path)
    with pytest.raises(FencedError):
        await writer(await repository(bare, seed=3))
    assert await newest(bare) == restored


async def test_the_run_that_seals_may_ask_again_and_a_lower_one_may_not(tmp_path: Path) -> None:
    found = await repository()
    first = await (await writer(found, run_number=5)).write(tmp_path)
    assert await seal(found, CHECKPOINT, run_number=6) == first
    places = await found.places(CHECKPOINT)
    assert await seal(found, CHECKPOINT, run_number=6) == first
    assert await found.places(CHECKPOINT) == places
    with pytest.raises(FencedError):
        await seal(found, CHECKPOINT, run_number=5)
    assert await seal(found, CHECKPOINT, run_number=7) == first
    assert await seal(found, OTHER, run_number=1) is None


async def test_after_the_final_generation_comes_none(tmp_path: Path) -> None:
    found = await repository()
    one = await writer(found)
    fill(tmp_path, 1)
    final = await one.write(tmp_path, final=True)
    with pytest.raises(FencedError, match="final"):
        await one.write(tmp_path)
    with pytest.raises(FencedError, match="final"):
        await writer(found)
    assert (await found.records(CHECKPOINT)).found == (final,)


async def test_of_two_writers_of_one_run_one_goes_on(tmp_path: Path) -> None:
    found = await repository()
    one, two = await writer(found), await writer(found)
    fill(tmp_path, 1)
    ours = await one.write(tmp_path)
    with pytest.raises(FencedError):
        await two.write(tmp_path)
    assert (await found.records(CHECKPOINT)).found == (ours,)


@pytest.mark.parametrize("fault", [*PASSING, Fault.EXISTS_412, Fault.FULL, Fault.NOT_PERMITTED])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_after_any_fault_the_next_write_is_whole(
    tmp_path: Path, fault: Fault, operation: int
) -> None:
    """With nobody who tries again: what was uncertain, the next write finds out."""
    bare = memory()
    store = FaultyStore(bare)
    found = await repository(store)
    one = await writer(found)
    fill(tmp_path, 1)
    old_record = await one.write(tmp_path)
    old = seen(tmp_path)
    fill(tmp_path, 2)
    store.faults = Faults(script={store.operations + operation: fault})
    try:
        record = await one.write(tmp_path)
    except StorageError:
        committed = await newest(bare)
        if committed == old_record:
            assert await read_back(found, committed) == old
        record = await one.write(tmp_path)
    store.faults = Faults()
    assert await newest(bare) == record
    assert await read_back(found, record) == seen(tmp_path)
    fill(tmp_path, 3)
    assert await read_back(found, await one.write(tmp_path)) == seen(tmp_path)


@pytest.mark.parametrize("seed", range(5))
async def test_a_store_that_fails_often_is_got_over(tmp_path: Path, seed: int) -> None:
    bare = memory()
    faulty = FaultyStore(bare, Faults(rate=0.2, rng=random.Random(seed)))
    store = Retrying(
        faulty, clock=Clock(), rng=random.Random(seed), policy=RetryPolicy(tries_max=30)
    )
    found = await repository(store)
    one = await writer(found)
    for number in range(5):
        fill(tmp_path, number)
        record = await one.write(tmp_path)
        assert await read_back(found, record) == seen(tmp_path)
    assert len(faulty.met) > 5
    assert len(await found.places(CHECKPOINT)) == 5


async def test_spoilt_answers_are_read_again(tmp_path: Path) -> None:
    store = FaultyStore(memory())
    found = await repository(store)
    fill(tmp_path, 1)
    record = await (await writer(found)).write(tmp_path)
    for number in range(12):
        for fault in (Fault.FLIPPED_BIT, Fault.TRUNCATED):
            fresh = await repository(store)
            store.faults = Faults(script={store.operations + number: fault})
            with suppress(StorageError):
                assert await read_back(fresh, record) == seen(tmp_path)
            store.faults = Faults()


async def test_a_full_store_says_so_and_nothing_is_committed(tmp_path: Path) -> None:
    store = FaultyStore(memory())
    one = await writer(await repository(store))
    fill(tmp_path, 1)
    store.faults = Faults(rate=1.0, kinds=[Fault.FULL], rng=random.Random(1))
    with pytest.raises(StorageFullError):
        await one.write(tmp_path)
    store.faults = Faults()
    assert (await one.write(tmp_path)).generation == 1


async def test_a_pack_that_fails_late_is_waited_for(tmp_path: Path) -> None:
    """All was handed in long before, and the record must not come first."""
    found = await repository()
    one = await writer(found)
    fill(tmp_path, 1)
    found.storage = _FailsLate(found.storage)
    with pytest.raises(StorageAwayError):
        await one.write(tmp_path)
    assert not await found.checkpoints()


async def test_a_write_that_is_given_up_leaves_no_threads_and_no_record(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    threads = set(threading.enumerate())
    found = await repository()
    one = await writer(found)
    store = _Stuck(found.storage)
    found.storage = store
    write = asyncio.get_running_loop().create_task(one.write(tmp_path))
    await store.stuck.wait()
    write.cancel()
    with pytest.raises(asyncio.CancelledError):
        await write
    left = {thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")}
    for thread in left - threads:
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()
    assert not await found.checkpoints()


async def test_a_lost_record_is_not_written_twice(tmp_path: Path) -> None:
    """The answer to its creation was lost, it was given up, and it was there all the time."""
    store = FaultyStore(memory())
    one = await writer(await repository(store))
    fill(tmp_path, 1)
    store.inner = _LosesRecords(store.inner)
    with pytest.raises(StorageAwayError):
        await one.write(tmp_path)
    fill(tmp_path, 2)
    record = await one.write(tmp_path)
    assert record.place == SECOND
    assert await read_back(await repository(store), record) == seen(tmp_path)


class _Stuck(FaultyStore):
    """Never stores a pack."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.stuck = asyncio.Event()

    async def put_new(self, key: str, data: bytes) -> None:
        self.stuck.set()
        await asyncio.Event().wait()


class _LosesRecords(FaultyStore):
    """Stores the first record, but doesn't answer, nor to reads until it is asked again."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self._away = 0

    async def put_new(self, key: str, data: bytes) -> None:
        await super().put_new(key, data)
        if key.startswith(names.RECORDS) and not self._away:
            self._away = 1
            raise StorageAwayError("no answer", operation="put_new", key=key)

    async def get(self, key: str) -> bytes:
        if self._away == 1 and key.startswith(names.RECORDS):
            self._away = 2
            raise StorageAwayError("no answer", operation="get", key=key)
        return await super().get(key)


class _FailsLate(FaultyStore):
    """Says only after a while that a pack could not be stored."""

    async def put_new(self, key: str, data: bytes) -> None:
        if names.parse_pack(key) is None:
            return await super().put_new(key, data)
        for _ in range(5000):  # turns of the loop
            await asyncio.sleep(0)
        raise StorageAwayError("no answer", operation="put_new", key=key)
