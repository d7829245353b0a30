"""Bounds what is in flight to a store: operations, bytes, and the time of each.

Whoever waits is served in order of arrival, and nobody holds a place for longer than the time
limit. So a burst of small reads can't keep a large creation waiting for ever, nor can a store that
hangs keep the last checkpoint of a session from being tried.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.storage.failures import StorageAwayError
from checkpoints.storage.translation import act

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from checkpoints.storage.storage import Listed, Part, Range, Storage

GET_BYTES_ASSUMED = 16 << 20
"""What an object whose size nobody has said may have: a pack of the largest size."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be in flight at the same time."""

    operations_max: int = 16
    """Fills a line of 10 Gbit/s to a bucket that answers with 80 MB/s for each connection."""

    bytes_max: int = 96 << 20
    """A third of the 300 MB that everything about checkpoints may take."""

    seconds_max: float = 300.0
    """For one operation: 16 MiB still pass at 0.5 Mbit/s. Then it counts as unanswered."""


class Limited:
    """A `Storage` that lets through only so much at a time."""

    def __init__(self, inner: Storage, limits: Limits = Limits()) -> None:
        self._inner = inner
        self._operations = Budget(limits.operations_max)
        self._bytes = Budget(limits.bytes_max)
        self._seconds_max = limits.seconds_max

    async def get(self, key: str) -> bytes:
        async with self._held("get", key, GET_BYTES_ASSUMED):
            return await self._inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> Part:
        async with self._held("get_range", key, length):
            return await self._inner.get_range(key, start, length)

    async def get_suffix(self, key: str, length: int) -> Part:
        async with self._held("get_suffix", key, length):
            return await self._inner.get_suffix(key, length)

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        async with self._held("get_ranges", key, sum(wanted.length for wanted in ranges)):
            return await self._inner.get_ranges(key, ranges)

    async def put_new(self, key: str, data: bytes) -> None:
        async with self._held("put_new", key, len(data)):
            await self._inner.put_new(key, data)

    async def delete(self, key: str) -> None:
        async with self._held("delete", key, 0):
            await self._inner.delete(key)

    async def size(self, key: str) -> int:
        async with self._held("size", key, 0):
            return await self._inner.size(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        """Bound only the time.

        A place that is held while the consumer works, and waits for one itself, could be the last.
        """
        listing = aiter(self._inner.list(prefix, after=after))
        while True:
            async with self._timed("list", prefix):
                listed = await anext(listing, None)
            if listed is None:
                return
            yield listed

    @asynccontextmanager
    async def _held(self, operation: str, key: str, size_bytes: int) -> AsyncIterator[None]:
        async with self._operations.hold(1), self._bytes.hold(size_bytes):
            async with self._timed(operation, key):
                yield

    @asynccontextmanager
    async def _timed(self, operation: str, key: str) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._seconds_max):
                yield
        except TimeoutError as error:
            sentence = f"{act(operation, key)} had no answer in {self._seconds_max:g} s"
            raise StorageAwayError(sentence, operation=operation, key=key) from error


class Budget:
    """So much of something, lent in order of arrival. More than all is lent as all."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._free = total
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, amount: int) -> AsyncIterator[None]:
        amount = min(amount, self._total)
        await self._take(amount)
        try:
            yield
        finally:
            self._give(amount)

    async def _take(self, amount: int) -> None:
        if not self._waiting and amount <= self._free:
            self._free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            # Either it was given already, or those behind may have waited only for this one.
            lent = turn.done() and not turn.cancelled()
            self._give(amount if lent else 0)
            raise

    def _give(self, amount: int) -> None:
        self._free += amount
        while self._waiting:
            wanted, turn = self._waiting[0]
            if not turn.done():
                if wanted > self._free:
                    return
                self._free -= wanted
                turn.set_result(None)
            self._waiting.popleft()
