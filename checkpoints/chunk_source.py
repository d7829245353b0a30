"""Reads chunks: finds them, reads neighbours together, checks what came.

A chunk may be found in several places, because a collection moves chunks and deletes where they
were, and the same chunk may have been stored twice. The first place that has it whole is taken; if
there is none, `index/moved` is looked at again.

What comes is checked against the chunk's id, so nothing wrong is handed on. If it is wrong, it is
read once more: the answer may have been spoilt, and not what is stored.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.codec import decode
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.storage.failures import NotThereError, StorageBrokenError
from checkpoints.storage.storage import Range
from common.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from checkpoints.format.ids import ChunkId
    from checkpoints.format.index import ChunkPlace, Index
    from checkpoints.storage.storage import Part, Storage

GROUP_BYTES_MAX = 8 * 1024 * 1024
"""What is asked of one pack at a time, as stored."""
GROUPS_AT_ONCE = 4
"""With raw bytes beside stored ones, some 100 MB at worst."""
SPREAD_BYTES_MAX = 64 * 1024 * 1024
"""How far chunks that are read together may be apart in the order that was asked for."""


@dataclass(frozen=True, slots=True)
class Group:
    """Chunks of one pack that are read together."""

    key: str
    """The pack's."""
    chunks: tuple[tuple[ChunkId, ChunkPlace], ...]
    """Ascending by offset."""


class ChunkSource:
    """Where chunks come from that some indexes know."""

    def __init__(
        self,
        storage: Storage,
        indexes: Sequence[Index],
        load_moved: Callable[[], Awaitable[Sequence[Index]]],
        moved: Sequence[Index] = (),
    ) -> None:
        """Read nothing yet. Belongs to the event loop that runs."""
        self._storage = storage
        self._indexes = tuple(indexes)
        self._load_moved = load_moved
        self._moved = tuple(moved)
        self._loop = asyncio.get_running_loop()

    def places(self, chunk: ChunkId) -> Iterator[ChunkPlace]:
        """Yield where a chunk may be, the most likely first."""
        for index in chain(self._moved, self._indexes):
            if (place := index.find(chunk)) is not None:
                yield place

    def place(self, chunk: ChunkId) -> ChunkPlace:
        """Return where a chunk is, or raise DamagedError if no index knows."""
        for indexes in (self._moved, self._indexes):  # restoring asks for every file's
            for index in indexes:
                if (place := index.find(chunk)) is not None:
                    return place
        raise DamagedError(f"no index knows where chunk {chunk.hex()} is")

    def fetch(self, chunk: ChunkId) -> bytes:
        """Return a chunk's raw bytes. Only for threads: they wait for the event loop."""
        return asyncio.run_coroutine_threadsafe(self._read_here(chunk), self._loop).result()

    async def read(self, chunk: ChunkId) -> bytes:
        """Return a chunk's raw bytes. Raises DamagedError, DamagedObjectError, StorageError."""
        tried: set[ChunkPlace] = set()
        damage: DamagedObjectError | None = None
        for is_last in (False, True):
            for place in self.places(chunk):
                if place in tried:
                    continue
                tried.add(place)
                try:
                    raw = await self._try(chunk, place)
                except DamagedObjectError as error:
                    damage = damage or error
                    continue
                if raw is not None:
                    return raw
            if not is_last:
                self._moved = tuple(await self._load_moved())
        if damage is not None:
            raise damage
        place = self.place(chunk)
        key = names.pack(place.pack.kind, place.pack.pack_id)
        raise DamagedObjectError(key, f"is missing, and with it chunk {chunk.hex()}")

    def groups(self, chunks: Iterable[ChunkId]) -> Iterator[Group]:
        """Yield what is read together. Every chunk comes once, roughly in the order asked for.

        Raises DamagedError if no index knows one.
        """
        open_groups: dict[str, _OpenGroup] = {}
        seen: set[ChunkId] = set()
        waiting_bytes = 0
        for chunk in chunks:
            if chunk in seen:
                continue
            seen.add(chunk)
            place = self.place(chunk)
            key = names.pack(place.pack.kind, place.pack.pack_id)
            group = open_groups.setdefault(key, _OpenGroup(key))
            group.add(chunk, place)
            waiting_bytes += place.stored_bytes
            full = group if group.stored_bytes >= GROUP_BYTES_MAX else None
            while full is not None or waiting_bytes > SPREAD_BYTES_MAX:
                closed = full or next(iter(open_groups.values()))
                full = None
                del open_groups[closed.key]
                waiting_bytes -= closed.stored_bytes
                yield closed.closed()
        for group in open_groups.values():
            yield group.closed()

    async def read_group(self, group: Group) -> list[tuple[ChunkId, bytes]]:
        """Return the raw bytes of a group's chunks. Fails as `read` does."""
        ranges = [Range(place.offset, place.stored_bytes) for _, place in group.chunks]
        try:
            stored = await self._storage.get_ranges(group.key, ranges)
            return await asyncio.to_thread(_decode_all, group, stored)
        except (NotThereError, StorageBrokenError, DamagedError):
            # One by one: the others are unharmed, and each may be somewhere else.
            return [(chunk, await self.read(chunk)) for chunk, _ in group.chunks]

    async def read_many(
        self,
        chunks: Iterable[ChunkId],
        take: Callable[[list[tuple[ChunkId, bytes]]], Awaitable[None]],
    ) -> None:
        """Give chunks with their raw bytes to `take`, each once, some at a time.

        A few groups are under way at once, so `take` is called by several tasks, in no order that
        can be relied on. Fails as `read` does, at the first that fails.
        """

        async def read(group: Group) -> None:
            await take(await self.read_group(group))

        await side_by_side(self.groups(chunks), read, at_once=GROUPS_AT_ONCE)

    async def _read_here(self, chunk: ChunkId) -> bytes:
        return await self.read(chunk)

    async def _try(self, chunk: ChunkId, place: ChunkPlace) -> bytes | None:
        """Return a chunk's raw bytes if they are there; None if there is no such pack."""
        key = names.pack(place.pack.kind, place.pack.pack_id)
        for is_last in (False, True):
            try:
                stored = await self._storage.get_range(key, place.offset, place.stored_bytes)
                return await asyncio.to_thread(
                    decode, stored, place.codec, raw_bytes=place.raw_bytes, expected=chunk
                )
            except NotThereError:
                return None
            except (StorageBrokenError, DamagedError) as error:
                if is_last:
                    raise DamagedObjectError(key, str(error)) from None
        raise AssertionError


class _OpenGroup:
    def __init__(self, key: str) -> None:
        self.key = key
        self.stored_bytes = 0
        self._members: list[tuple[ChunkId, ChunkPlace]] = []

    def add(self, chunk: ChunkId, place: ChunkPlace) -> None:
        self._members.append((chunk, place))
        self.stored_bytes += place.stored_bytes

    def closed(self) -> Group:
        return Group(self.key, tuple(sorted(self._members, key=lambda member: member[1].offset)))


def _decode_all(group: Group, stored: Sequence[Part]) -> list[tuple[ChunkId, bytes]]:
    return [
        (chunk, decode(data, place.codec, raw_bytes=place.raw_bytes, expected=chunk))
        for (chunk, place), data in zip(group.chunks, stored, strict=True)
    ]
