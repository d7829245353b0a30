"""A store that gives only whole objects: each is read once, as long as it is remembered."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict

import pytest

from checkpoints.storage.failures import StorageAwayError, StorageBrokenError
from checkpoints.storage.storage import Range
from checkpoints.storage.whole_objects import READS_AT_ONCE, WholeObjects
from common.threads import Threads

OBJECT_BYTES = 1000
HELD_MAX = 2
NAMES = ("a", "b", "c")


class Shop:
    """Gives whole objects, and counts. Those of `waiting` come when their event is set."""

    def __init__(self) -> None:
        self.objects = {name: random.Random(name).randbytes(OBJECT_BYTES) for name in NAMES}
        self.reads: Counter[str] = Counter()
        self.under_way = 0
        self.most_under_way = 0
        self.waiting: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.is_slow = False
        self.is_away = False
        threads = Threads(1, "test")
        self.whole = WholeObjects(self.read, threads, bytes_max=HELD_MAX * OBJECT_BYTES)

    async def read(self, key: str) -> memoryview:
        self.reads[key] += 1
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            if self.is_slow:
                await self.waiting[key].wait()
            if self.is_away:
                raise StorageAwayError("away")
            return memoryview(self.objects[key])
        finally:
            self.under_way -= 1

    async def part(self, key: str, start: int, length: int = 10) -> None:
        """Read a part, which must be right."""
        (found,) = await self.whole.parts(key, [Range(start, length)])
        assert found == self.objects[key][start : start + length]


@pytest.fixture
def shop() -> Shop:
    return Shop()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_many_parts_of_few_objects_cost_each_object_once(shop: Shop) -> None:
    for start in range(0, OBJECT_BYTES, 10):
        await shop.part("a", start)
        await shop.part("b", start)
    await shop.whole.parts("a", [Range(3, 5), Range(0, 999)])
    assert await shop.whole.suffix("b", 7) == shop.objects["b"][-7:]
    assert shop.reads == {"a": 1, "b": 1}


async def test_what_was_used_last_is_kept(shop: Shop) -> None:
    await shop.part("a", 0)
    await shop.part("b", 0)
    await shop.part("a", 1)
    await shop.part("c", 0)
    await shop.part("a", 2)
    assert shop.reads == {"a": 1, "b": 1, "c": 1}
    await shop.part("b", 1)
    assert shop.reads["b"] == 2


async def test_all_that_ask_at_once_wait_for_one_read(shop: Shop) -> None:
    shop.is_slow = True
    async with asyncio.TaskGroup() as group:
        first = group.create_task(shop.part("a", 0))
        for start in range(1, 20):
            group.create_task(shop.part("a", start))
        await settle()
        assert shop.reads == {"a": 1}
        first.cancel()  # its read goes with it; the next in line begins another
        await settle()
        assert shop.reads == {"a": 2}
        shop.waiting["a"].set()
    assert shop.reads == {"a": 2}


async def test_few_are_read_at_once(shop: Shop) -> None:
    shop.is_slow = True
    keys = [f"object{number}" for number in range(3 * READS_AT_ONCE)]
    for key in keys:
        shop.objects[key] = bytes(OBJECT_BYTES)
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(shop.part(key, 0))
        await settle()
        for key in keys:
            shop.waiting[key].set()
    assert shop.most_under_way == READS_AT_ONCE
    assert shop.reads == dict.fromkeys(keys, 1)


async def test_who_asks_again_gets_it_from_the_store_until_it_is_the_same(shop: Shop) -> None:
    good = shop.objects["a"]
    shop.objects["a"] = bytes(OBJECT_BYTES)
    await shop.part("a", 0)
    await shop.whole.suffix("a", 64)
    shop.objects["a"] = good
    await shop.part("a", 0)
    assert shop.reads["a"] == 2
    await shop.whole.suffix("a", 64)
    assert await shop.whole.suffix("a", 64) == good[-64:]
    assert shop.reads["a"] == 3
    for _ in range(10):
        await shop.part("a", 0)
        await shop.part("a", 10)
        await shop.whole.suffix("a", 64)
    assert shop.reads["a"] == 3


@pytest.mark.parametrize("is_under_way", [False, True])
async def test_what_comes_or_goes_is_forgotten(shop: Shop, *, is_under_way: bool) -> None:
    shop.is_slow = is_under_way
    async with asyncio.TaskGroup() as group:
        group.create_task(shop.part("a", 0))
        group.create_task(shop.part("b", 0))
        await settle()
        shop.whole.forget("a")
        shop.waiting["a"].set()
        shop.waiting["b"].set()
    await shop.part("a", 1)
    await shop.part("b", 1)
    assert shop.reads == {"a": 2, "b": 1}


async def test_a_failure_is_not_kept(shop: Shop) -> None:
    shop.is_away = True
    with pytest.raises(StorageAwayError):
        await shop.part("a", 0)
    shop.is_away = False
    await shop.part("a", 0)
    with pytest.raises(StorageBrokenError):
        await shop.whole.parts("a", [Range(0, 1), Range(OBJECT_BYTES - 1, 2)])


async def test_an_object_larger_than_all_room_is_read_and_not_kept(shop: Shop) -> None:
    shop.objects["a"] = bytes(HELD_MAX * OBJECT_BYTES + 1)
    await shop.part("a", 0)
    await shop.part("a", 1)
    assert shop.reads["a"] == 2
