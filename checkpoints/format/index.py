"""Where chunks are: a sorted table, looked up as it lies in memory.

    header: 64 bytes │ packs: 24 bytes each │ chunks: 52 bytes each, ascending by id

A million chunks are 52 MB of bytes and no object; a look-up is a search by halves, with the first
guess made from the id itself, because hashes are evenly spread: some two or three steps.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, PackId
from checkpoints.format.pack import PackKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER_BYTES = 64
_MAGIC = b"STIX"
_VERSION = 1
_HEADER = struct.Struct("<4sB3xII16x32s")
_PACK = struct.Struct("<16sB3xI")
_CHUNK = struct.Struct("<32sIIIIB3x")
_PLACE = struct.Struct("<IIIIB")
_PREFIX = struct.Struct(">Q")
_PREFIX_SPAN = 1 << 64
assert _HEADER.size == HEADER_BYTES


@dataclass(frozen=True, slots=True)
class PackFacts:
    """A pack, as an index knows it."""

    pack_id: PackId
    kind: PackKind
    object_bytes: int


@dataclass(frozen=True, slots=True)
class ChunkPlace:
    """Where a chunk is. Sizes in bytes."""

    pack: PackFacts
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


def build(places: Mapping[ChunkId, ChunkPlace]) -> bytes:
    """Return an index of these chunks."""
    packs = sorted({place.pack for place in places.values()}, key=lambda pack: pack.pack_id)
    numbers = {pack: number for number, pack in enumerate(packs)}
    parts = [_PACK.pack(pack.pack_id, pack.kind, pack.object_bytes) for pack in packs]
    for chunk, place in sorted(places.items()):
        number = numbers[place.pack]
        parts.append(
            _CHUNK.pack(
                chunk, number, place.offset, place.stored_bytes, place.raw_bytes, place.codec
            )
        )
    body = b"".join(parts)
    head = _HEADER.pack(_MAGIC, _VERSION, len(packs), len(places), blake3(body).digest())
    return head + body


class Index:
    """A parsed index. Keeps the bytes it was given, and no more."""

    def __init__(self, data: bytes) -> None:
        """Raise DamagedError if it is not what was written."""
        if len(data) < HEADER_BYTES:
            raise DamagedError("the index is shorter than its header")
        magic, version, packs, chunks, digest = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise DamagedError("the object is no index")
        if version != _VERSION:
            raise DamagedError(f"the index has version {version}")
        self._table = HEADER_BYTES + packs * _PACK.size
        if len(data) != self._table + chunks * _CHUNK.size:
            raise DamagedError("the index was cut off")
        if blake3(memoryview(data)[HEADER_BYTES:]).digest() != digest:
            raise DamagedError("the index has other content")
        self._data = data
        self._count = chunks
        self.packs = tuple(
            PackFacts(PackId(pack_id), PackKind(kind), size)
            for pack_id, kind, size in _PACK.iter_unpack(data[HEADER_BYTES : self._table])
        )

    def __len__(self) -> int:
        count: int = self._count
        return count

    def find(self, chunk: ChunkId) -> ChunkPlace | None:
        """Return where a chunk is; None if this index doesn't know."""
        low, high = 0, self._count
        guess = _PREFIX.unpack_from(chunk)[0] * self._count // _PREFIX_SPAN
        step = 1 + self._count // 65536
        while low < high:
            middle = guess if low <= guess < high else (low + high) // 2
            at = self._table + middle * _CHUNK.size
            found = self._data[at : at + CHUNK_ID_BYTES]
            if found == chunk:
                return self._place(at)
            if found < chunk:
                low = middle + 1
                guess = middle + step
            else:
                high = middle
                guess = middle - step
            step *= 8
        return None

    def __contains__(self, chunk: ChunkId) -> bool:
        return self.find(chunk) is not None

    def items(self) -> Iterator[tuple[ChunkId, ChunkPlace]]:
        """Yield all chunks, ascending by id."""
        for number in range(self._count):
            at = self._table + number * _CHUNK.size
            yield ChunkId(self._data[at : at + CHUNK_ID_BYTES]), self._place(at)

    def _place(self, at: int) -> ChunkPlace:
        pack, offset, stored, raw, codec = _PLACE.unpack_from(self._data, at + CHUNK_ID_BYTES)
        if pack >= len(self.packs):
            raise DamagedError("the index names a pack that it doesn't list")
        return ChunkPlace(self.packs[pack], offset, stored, raw, codec)


def merged(indexes: Iterable[Index]) -> dict[ChunkId, ChunkPlace]:
    """Return all that some indexes know; of a chunk in several, the first one's place."""
    places: dict[ChunkId, ChunkPlace] = {}
    for index in indexes:
        for chunk, place in index.items():
            places.setdefault(chunk, place)
    return places
