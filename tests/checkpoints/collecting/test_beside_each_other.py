"""Collections beside each other, beside sweeping writers, and too slow ones."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting.collector import collect
from checkpoints.collecting.settings import Settings
from checkpoints.format import names
from checkpoints.reading.verify import verify
from checkpoints.storage.failures import StorageUnfitError
from checkpoints.storage.probe import PROBES
from tests.support.checkpoint_rig import OTHER, fill, read_back, seen, write_each, writer
from tests.support.collecting_store import keys_in, packs_in, repository_in
from tests.support.faulty_store import FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from tests.support.collecting_store import AgingStore, Calendar


async def test_a_collection_that_goes_by_old_records_takes_no_fresh_tombstone_away(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """It may be of a writer who sweeps up, and is about to delete."""
    await (await writer(found)).write(_filled(tmp_path))
    packs = [names.parse_pack(key) for key in await packs_in(store)]
    for pack in packs:
        assert pack is not None
        await store.put_new(names.tombstone(pack[1]), b"{}")
    clock.pass_by(hours=1.9)
    assert not (await collect(found)).revived_packs
    clock.pass_by(hours=0.1)
    assert (await collect(found)).revived_packs == 2
    assert not await keys_in(store, names.TOMBSTONES)


async def test_a_needed_pack_with_an_old_tombstone_is_rewritten_and_goes_with_it(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Taken away now, it could be by one that looks while another deletes."""
    record = await (await writer(found)).write(_filled(tmp_path), final=True)
    old = await packs_in(store)
    for key in old:
        pack = names.parse_pack(key)
        assert pack is not None
        await store.put_new(names.tombstone(pack[1]), b"{}")
    clock.pass_by(hours=30)
    outcome = await collect(found)
    assert (outcome.revived_packs, outcome.rewritten_packs) == (0, 2)
    assert not outcome.deleted_packs
    for _ in range(3):
        clock.pass_by(hours=5)
        await collect(found)
    assert not old & await packs_in(store)
    assert not await keys_in(store, names.TOMBSTONES)
    assert await read_back(await repository_in(store, clock), record) == seen(tmp_path)


async def _ripe(store: Storage, clock: Calendar, folder: Path) -> Repository:
    """Return one in which packs may be deleted now."""
    found = await repository_in(store, clock)
    await write_each(await writer(found), folder, range(4))
    for hours in (24, 4, 24):
        await collect(found)
        clock.pass_by(hours=hours)
    return found


async def test_a_tombstone_that_another_took_away_meanwhile_protects_its_pack(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Between the listing that a collection goes by, and its deletions."""
    taking = _TakesTombstones(store)
    found = await _ripe(taking, clock, tmp_path)
    packs = await packs_in(store)
    taking.is_taking = True
    assert not (await collect(found)).deleted_packs
    assert await packs_in(store) == packs


async def test_what_two_running_checkpoints_store_each_for_itself_is_kept_for_both(
    found: Repository, store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    """Their trees are the same, but each looks only into its own indexes."""
    one, two = await writer(found), await writer(found, OTHER)
    fill(tmp_path, 1)
    first, second = await one.write(tmp_path), await two.write(tmp_path)
    assert first.tree == second.tree
    assert len(await packs_in(store)) == 4
    for _ in range(4):
        assert not (await collect(found)).unused_packs
        clock.pass_by(hours=25)
    for record in (first, second):
        assert await read_back(await repository_in(store, clock), record) == seen(tmp_path)


@pytest.mark.parametrize("seed", range(2))
async def test_two_collections_at_a_time_do_no_harm(
    store: AgingStore, clock: Calendar, tmp_path: Path, seed: int
) -> None:
    """With a writer beside them; in an order of its own for each seed."""
    rng = random.Random(seed)
    settings = replace(Settings(), moved_indexes_max=2, recompressed_age=timedelta(hours=30))
    repositories = [
        await repository_in(_Shuffled(store, rng), clock, seed=seed * 10 + number)
        for number in range(3)
    ]
    one = await writer(repositories[2])
    record: Record | None = None

    async def write(number: int) -> None:
        nonlocal record
        fill(tmp_path, number % 3)
        record = await one.write(tmp_path)

    for number in range(12):
        async with asyncio.TaskGroup() as group:
            group.create_task(collect(repositories[0], settings))
            group.create_task(collect(repositories[1], settings))
            group.create_task(write(number))
        clock.pass_by(hours=rng.choice([1, 5, 25]))
    found = await repository_in(store, clock, seed=seed + 1000)
    assert record is not None
    assert await read_back(found, record) == seen(tmp_path)
    assert (await verify(found)).is_sound
    for _ in range(8):
        clock.pass_by(hours=25)
        assert not (await collect(found, settings)).problems
    assert (await verify(found)).is_sound
    assert not await keys_in(store, names.TOMBSTONES)


async def test_a_collection_that_lasts_too_long_deletes_nothing(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    slow = _Slow(store)
    found = await _ripe(slow, clock, tmp_path)
    slow.clock = clock
    before = await keys_in(store)
    outcome = await collect(found)
    assert not outcome.deleted_packs
    assert "took so long" in outcome.problems[0]
    assert before <= await keys_in(store)
    slow.clock = None
    assert (await collect(found)).deleted_packs == 2


@pytest.mark.parametrize("times", [1, 9])
async def test_a_probe_that_another_collection_tidied_up_is_made_again(
    store: AgingStore, clock: Calendar, times: int
) -> None:
    """The machine slept for two days. But a store that never lists what is there is unfit."""
    found = await repository_in(_LosesProbes(store, times), clock)
    if times == 1:
        assert not (await collect(found)).problems
    else:
        with pytest.raises(StorageUnfitError):
            await collect(found)
    assert not await keys_in(store, PROBES)


def _filled(folder: Path) -> Path:
    fill(folder, 1)
    return folder


class _TakesTombstones(FaultyStore):
    """Before a collection notes what it found, another takes all tombstones away."""

    is_taking = False

    async def put_new(self, key: str, data: bytes) -> None:
        if self.is_taking and key.startswith(names.COLLECTIONS):
            for each in await keys_in(self.inner, names.TOMBSTONES):
                await self.inner.delete(each)
        await super().put_new(key, data)


class _LosesProbes(FaultyStore):
    """Some objects that are created to ask for the time are gone at once."""

    def __init__(self, inner: AgingStore, times: int) -> None:
        super().__init__(inner)
        self._left = times

    async def put_new(self, key: str, data: bytes) -> None:
        await super().put_new(key, data)
        if b"time" in data and self._left:
            self._left -= 1
            await self.inner.delete(key)


class _Shuffled(FaultyStore):
    """Each operation waits for some turns of the loop."""

    def __init__(self, inner: AgingStore, rng: random.Random) -> None:
        super().__init__(inner)
        self._rng = rng

    async def put_new(self, key: str, data: bytes) -> None:
        await self._wait()
        await super().put_new(key, data)

    async def delete(self, key: str) -> None:
        await self._wait()
        await super().delete(key)

    async def get(self, key: str) -> bytes:
        await self._wait()
        return await super().get(key)

    async def _wait(self) -> None:
        for _ in range(self._rng.randrange(30)):
            await asyncio.sleep(0)


class _Slow(FaultyStore):
    """Reads of records take hours."""

    clock: Calendar | None = None

    async def get(self, key: str) -> bytes:
        if self.clock is not None and key.startswith(names.RECORDS):
            self.clock.pass_by(hours=5)
        return await super().get(key)
