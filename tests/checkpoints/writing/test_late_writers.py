"""Writers that stood still while others went on: what they commit is whole, or doesn't count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.format import names
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.writing.commit import FencedError
from checkpoints.writing.sealing import seal
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    Clock,
    fill,
    memory,
    read_back,
    repository,
    seen,
    writer,
)
from tests.support.faulty_store import FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from checkpoints.storage.storage import Listed, Storage

DAYS_SECONDS = 11 * 86400.0


class _Meanwhile(FaultyStore):
    """Lets something happen once, after a listing or before a creation."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.after_list: dict[str, Callable[[], Awaitable[None]]] = {}
        self.before_put: dict[str, Callable[[], Awaitable[None]]] = {}
        self.clock = Clock()

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        async for listed in super().list(prefix, after=after):
            yield listed
        if (act := self.after_list.pop(prefix, None)) is not None:
            await act()

    async def put_new(self, key: str, data: bytes) -> None:
        if (act := self.before_put.pop(key.partition("/")[0], None)) is not None:
            await act()
        await super().put_new(key, data)

    async def sleep_while_all_unused_goes(self) -> None:
        """As the collector would have it after some days."""
        await self.clock.sleep(DAYS_SECONDS)
        found = await repository(self.inner, seed=9)
        needed: set[str] = set()
        for checkpoint in await found.checkpoints():
            for record in (await found.records(checkpoint)).generations:
                for place, index in (await found.indexes(record)).items():
                    needed.add(names.index(place))
                    needed |= {names.pack(pack.kind, pack.pack_id) for pack in index.packs}
        for key in [listed.key async for listed in self.inner.list("")]:
            is_ours = names.parse_pack(key) or names.parse_index(key)
            if is_ours and key not in needed:
                await self.inner.delete(key)


@pytest.mark.parametrize("asleep", ["number", "look", "commit"])
async def test_a_write_that_sleeps_for_days_before_its_record_is_whole(
    tmp_path: Path, asleep: str
) -> None:
    store = _Meanwhile(memory())
    found = await repository(store)
    found.clock = store.clock
    one = await writer(found)
    fill(tmp_path, 1)
    await one.write(tmp_path)
    fill(tmp_path, 2)

    async def sleep_in_the_look() -> None:
        store.after_list[names.TOMBSTONES] = store.sleep_while_all_unused_goes

    async def sleep_in_the_listing() -> None:
        store.after_list[names.records_of(CHECKPOINT)] = store.sleep_while_all_unused_goes

    if asleep == "look":
        store.before_put["index"] = sleep_in_the_look
    elif asleep == "number":
        store.before_put["index"] = sleep_in_the_listing
    else:
        store.before_put["checkpoints"] = store.sleep_while_all_unused_goes
    record = await one.write(tmp_path)
    assert record.generation == (3 if asleep == "commit" else 2)
    fresh = await repository(store.inner, seed=5)
    assert await read_back(fresh, record) == seen(tmp_path)
    fill(tmp_path, 3)
    assert await read_back(fresh, await one.write(tmp_path)) == seen(tmp_path)


async def test_what_comes_while_a_writer_opens_fences_it(tmp_path: Path) -> None:
    store = _Meanwhile(memory())
    found = await repository(store)
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path)

    async def sealed() -> None:
        await seal(await repository(store.inner, seed=2), CHECKPOINT, run_number=2)

    store.after_list[names.records_of(CHECKPOINT)] = sealed
    one = await writer(found)
    with pytest.raises(FencedError):
        await one.write(tmp_path)
    assert (await found.records(CHECKPOINT)).newest == first


async def test_what_comes_while_a_run_seals_is_met(tmp_path: Path) -> None:
    store = _Meanwhile(memory())
    found = await repository(store)
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path)

    async def sealed_by_a_later_run() -> None:
        await seal(await repository(store.inner, seed=2), CHECKPOINT, run_number=9)

    store.after_list[names.records_of(CHECKPOINT)] = sealed_by_a_later_run
    with pytest.raises(FencedError):
        await seal(found, CHECKPOINT, run_number=2)


async def test_a_seal_in_the_place_of_what_came_and_was_deleted_is_no_seal(
    tmp_path: Path,
) -> None:
    """Whoever seals stood still before the creation; the writer has gone on, and has swept up."""
    store = _Meanwhile(memory())
    found = await repository(store)
    fill(tmp_path, 1)
    one = await writer(await repository(store.inner, seed=2))
    await one.write(tmp_path)

    async def many_come_and_most_go() -> None:
        for _ in range(5):
            await one.write(tmp_path)
        for generation in (1, 2, 3):
            await store.inner.delete(names.record(Place(CHECKPOINT, Generation(generation))))

    store.before_put["checkpoints"] = many_come_and_most_go
    newest = await seal(found, CHECKPOINT, run_number=2)
    assert newest == one.previous
    assert (await found.places(CHECKPOINT))[0].generation == 7
    with pytest.raises(FencedError):
        await one.write(tmp_path)


async def test_numbers_that_were_deleted_fence_all_the_same(tmp_path: Path) -> None:
    """A later run wrote the numbers that this writer would take next, and has swept them up."""
    found = await repository()
    late = await writer(found, run_number=1)
    fill(tmp_path, 1)
    other = await writer(found, run_number=2)
    for _ in range(3):
        await other.write(tmp_path)
    for generation in (1, 2):
        place = Place(CHECKPOINT, Generation(generation))
        await found.storage.delete(names.record(place))
    with pytest.raises(FencedError, match="run 2"):
        await late.write(tmp_path)
    assert await found.places(CHECKPOINT) == [Place(CHECKPOINT, Generation(3))]


async def test_a_late_record_of_a_deleted_checkpoint_is_no_generation(tmp_path: Path) -> None:
    """Another process of its run took the number that it meant to take, and then all was deleted.

    The number is free again when it is created, and its writer learns only after that.
    """
    store = _Meanwhile(memory())
    found = await repository(store)
    fill(tmp_path, 1)
    late = await writer(found)
    await late.write(tmp_path)
    outside = await repository(store.inner, seed=2)

    async def another_writes_and_all_is_deleted() -> None:
        await (await writer(outside)).write(tmp_path)
        await delete_checkpoint(outside, CHECKPOINT, even_if_written=True)

    store.before_put["checkpoints"] = another_writes_and_all_is_deleted
    with pytest.raises(FencedError):
        await late.write(tmp_path)
    assert [place.generation for place in await outside.places(CHECKPOINT)] == [3, 2]
    records = await outside.records(CHECKPOINT)
    assert records.is_deleted
    assert records.newest is None
    assert await seal(outside, CHECKPOINT, run_number=9) is None
    await collect(outside)
    assert [place.generation for place in await outside.places(CHECKPOINT)] == [4, 3]


async def test_who_comes_and_sweeps_up_during_the_commit_is_seen(tmp_path: Path) -> None:
    """The record is there then, below theirs: no reader takes it, and no success is reported."""
    store = _Meanwhile(memory())
    found = await repository(store)
    late = await writer(found, run_number=1)
    fill(tmp_path, 1)

    async def write_and_sweep() -> None:
        beside = await repository(store.inner, seed=2)
        other = await writer(beside, run_number=2)
        first = await other.write(tmp_path)
        await other.write(tmp_path)
        await store.inner.delete(names.record(first.place))

    store.before_put["checkpoints"] = write_and_sweep
    with pytest.raises(FencedError, match="run 2"):
        await late.write(tmp_path)
    with pytest.raises(FencedError):
        await late.write(tmp_path)
