"""So much is in flight and no more, for so long and no longer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.failures import StorageAwayError
from checkpoints.storage.limited import Budget, Limited, Limits
from checkpoints.storage.logged import Logged, Tally
from checkpoints.storage.storage import Listed, Range
from common.clock import SteppingClock, settle
from tests.support.faulty_store import Fault, Faults, FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from checkpoints.storage.storage import Storage

NEVER_SECONDS = 0.05


class Gate:
    """A store whose operations wait until the test lets them go, and are counted meanwhile."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.inside: list[str] = []
        self.sizes: list[int] = []

    async def _pass(self, key: str, size: int = 0) -> None:
        self.inside.append(key)
        self.sizes.append(size)
        await self.opened.wait()

    async def get(self, key: str) -> bytes:
        await self._pass(key)
        return b""

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        await self._pass(key, length)
        return b""

    async def get_suffix(self, key: str, length: int) -> bytes:
        await self._pass(key, length)
        return b""

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        await self._pass(key, sum(wanted.length for wanted in ranges))
        return []

    async def put_new(self, key: str, data: bytes) -> None:
        await self._pass(key, len(data))

    async def delete(self, key: str) -> None:
        await self._pass(key)

    async def size(self, key: str) -> int:
        await self._pass(key)
        return 0

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        await self._pass(prefix)
        none: list[Listed] = []
        for listed in none:
            yield listed


async def test_no_more_operations_than_allowed() -> None:
    gate = Gate()
    store = Limited(gate, Limits(operations_max=3))
    async with asyncio.TaskGroup() as group:
        for number in range(10):
            group.create_task(store.get_range(str(number), 0, 1))
        await settle()
        assert gate.inside == ["0", "1", "2"]
        gate.opened.set()
    assert gate.inside == [str(number) for number in range(10)], "in the order of arrival"


async def test_no_more_bytes_than_allowed() -> None:
    gate = Gate()
    store = Limited(gate, Limits(bytes_max=100))
    async with asyncio.TaskGroup() as group:
        for size in (60, 50, 10, 1000):
            group.create_task(store.put_new(str(size), bytes(size)))
        await settle()
        assert gate.sizes == [60], "50 doesn't fit, and 10 came later"
        gate.opened.set()
    assert gate.sizes == [60, 50, 10, 1000], "what is larger than all goes alone"


async def test_a_cancelled_wait_lets_those_behind_go_on() -> None:
    budget = Budget(10)
    order: list[str] = []

    async def hold(name: str, amount: int) -> None:
        async with budget.hold(amount):
            order.append(name)
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        tasks = {
            name: group.create_task(hold(name, amount))
            for name, amount in [("first", 6), ("large", 9), ("small", 4), ("next", 10)]
        }
        await settle()
        assert order == ["first"]
        tasks["large"].cancel()
        await settle()
        assert order == ["first", "small"]
        tasks["first"].cancel()
        tasks["small"].cancel()
        tasks["next"].cancel()  # in the instant in which it is its turn
        await settle()
        assert budget.waiting == 0
        async with budget.hold(10):
            pass


async def test_an_operation_that_hangs_is_away_and_its_place_free() -> None:
    gate = Gate()
    store = Limited(gate, Limits(operations_max=1, seconds_max=NEVER_SECONDS))
    for act in (
        lambda: store.get("a"),
        lambda: store.get_range("a", 0, 1),
        lambda: store.get_suffix("a", 1),
        lambda: store.get_ranges("a", [Range(0, 1)]),
        lambda: store.put_new("a", b"x"),
        lambda: store.delete("a"),
        lambda: store.size("a"),
    ):
        with pytest.raises(StorageAwayError, match=" a had no answer"):
            await act()
    with pytest.raises(StorageAwayError):
        assert [found async for found in store.list("a/")]


async def test_listings_hold_no_place(memory: Storage) -> None:
    """Who reads what he lists needs a second place while he lists."""
    for key in ("a/1", "a/2"):
        await memory.put_new(key, b"x")
    store = Limited(memory, Limits(operations_max=1))
    assert [await store.get(found.key) async for found in store.list("a/")] == [b"x", b"x"]


async def test_what_is_asked_is_counted(memory: Storage) -> None:
    clock = SteppingClock()
    faulty = FaultyStore(memory, Faults(script={1: Fault.ERROR_500, 4: Fault.ERROR_500}))
    store = Logged(faulty, clock=clock)
    await store.put_new("a/b", b"12345")
    with pytest.raises(StorageAwayError):
        await store.get("a/b")
    await store.get_ranges("a/b", [Range(0, 2), Range(3, 1)])
    assert [found.key async for found in store.list("a/")] == ["a/b"]
    with pytest.raises(StorageAwayError):
        assert [found async for found in store.list("a/")]
    assert store.tallies == {
        "put_new": Tally(operations=1, bytes=5),
        "get": Tally(operations=1, failures=1),
        "get_ranges": Tally(operations=1, bytes=3),
        "list": Tally(operations=2, failures=1),
    }
