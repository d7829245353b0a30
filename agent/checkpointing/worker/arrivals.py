"""A store around another that tells when something has arrived there.

A write tells its progress by the files that it has read. One file can take an hour to arrive: it is
the store, then, that says that a write moves on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from checkpoints.storage.storage import Listed, Part, Range, Storage


class Arrivals:
    """A `Storage`. `on_arrival` is called after each object that was created."""

    def __init__(self, inner: Storage, on_arrival: Callable[[], None]) -> None:
        self._inner = inner
        self._on_arrival = on_arrival

    async def put_new(self, key: str, data: bytes) -> None:
        await self._inner.put_new(key, data)
        self._on_arrival()

    async def get(self, key: str) -> bytes:
        return await self._inner.get(key)

    async def get_range(self, key: str, start: int, length: int) -> Part:
        return await self._inner.get_range(key, start, length)

    async def get_suffix(self, key: str, length: int) -> Part:
        return await self._inner.get_suffix(key, length)

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[Part]:
        return await self._inner.get_ranges(key, ranges)

    async def delete(self, key: str) -> None:
        await self._inner.delete(key)

    async def size(self, key: str) -> int:
        return await self._inner.size(key)

    def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        return self._inner.list(prefix, after=after)
