"""A store that keeps its own time, and what collections leave in it."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.repository import Repository
from tests.support.checkpoint_rig import memory
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from checkpoints.storage.storage import Listed, Range, Storage

HOUR = 3600.0


class Calendar(HurriedClock):
    """Time passes when a test says so; a machine's calendar may be wrong by some."""

    def __init__(self) -> None:
        super().__init__()
        self.error = timedelta()

    def now(self) -> datetime:
        return super().now() + self.error

    def true_time(self) -> datetime:
        return super().now()

    def pass_by(self, *, hours: float = 0.0, seconds: float = 0.0) -> None:
        self.elapsed += hours * HOUR + seconds


class AgingStore:
    """A `Storage` around another, whose listings show times by a clock of the test."""

    def __init__(self, clock: Calendar, inner: Storage | None = None) -> None:
        self.inner = inner or memory()
        self.clock = clock
        self.created: dict[str, datetime] = {}

    async def get(self, key: str) -> bytes:
        return await self.inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> bytes | memoryview:
        return await self.inner.get_range(key, start, length)

    async def get_suffix(self, key: str, length: int) -> bytes | memoryview:
        return await self.inner.get_suffix(key, length)

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes | memoryview]:
        return await self.inner.get_ranges(key, ranges)

    async def put_new(self, key: str, data: bytes) -> None:
        await self.inner.put_new(key, data)
        self.created[key] = self.clock.true_time()

    async def delete(self, key: str) -> None:
        await self.inner.delete(key)
        self.created.pop(key, None)

    async def size(self, key: str) -> int:
        return await self.inner.size(key)

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        async for listed in self.inner.list(prefix, after=after):
            if (modified := self.created.get(listed.key)) is not None:
                yield replace(listed, modified=modified)

    async def copy(self) -> AgingStore:
        """Return another store that holds the same."""
        other = AgingStore(self.clock)
        for key, created in self.created.items():
            await other.inner.put_new(key, await self.inner.get(key))
            other.created[key] = created
        return other

    async def replace(self, key: str, data: bytes) -> None:
        """Put something else in an object's place: it was damaged."""
        await self.inner.delete(key)
        await self.inner.put_new(key, data)


async def repository_in(storage: Storage, clock: Calendar, *, seed: int = 1) -> Repository:
    """Return the repository in a store, opened by a process of its own."""
    return await Repository.open(storage, create=True, clock=clock, rng=random.Random(seed))


async def keys_in(storage: Storage, prefix: str = "") -> set[str]:
    return {listed.key async for listed in storage.list(prefix)}


async def packs_in(storage: Storage) -> set[str]:
    """Return the names of all packs."""
    return {key for key in await keys_in(storage) if names.parse_pack(key)}


async def bytes_in(storage: Storage, prefix: str = "") -> int:
    return sum([listed.size async for listed in storage.list(prefix)])
