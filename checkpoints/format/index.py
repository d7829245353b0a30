"""Where chunks are: a sorted table, looked up as it lies in memory.

    header: 64 bytes │ packs: 24 bytes each │ chunks: 52 bytes each, ascending by id

A million chunks are 52 MB of bytes and no object; a look-up is a search by halves, with the first
guess made from the id itself, because hashes are evenly spread: some two or three steps.
"""

from __future__ import annotations

import operator
import struct
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import TYPE_CHECKING

from blake3 import blake3

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, PackId
from checkpoints.format.pack import ENTRY_BYTES, PackKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

HEADER_BYTES = 64
_MAGIC = b"STIX"
_VERSION = 1
_HEADER = struct.Struct("<4sB3xII16x32s")
_PACK = struct.Struct("<16sB3xI")
_CHUNK = struct.Struct("<32sIIIIB3x")
_PLACE = struct.Struct("<IIIIB")
_NUMBER = struct.Struct("<I")
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


class IndexBuilder:
    """An index in the making: rows of bytes, no object for a chunk."""

    def __init__(self) -> None:
        self._numbers: dict[PackFacts, int] = {}
        self._rows: list[bytes] = []

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, chunk: ChunkId, place: ChunkPlace) -> None:
        """Add one chunk. Of the same chunk twice, what was added first counts."""
        number = self._numbers.setdefault(place.pack, len(self._numbers))
        self._rows.append(
            _CHUNK.pack(
                chunk, number, place.offset, place.stored_bytes, place.raw_bytes, place.codec
            )
        )

    def add_table(self, pack: PackFacts, table: bytes) -> None:
        """Add all chunks of a pack, given its table."""
        number = _NUMBER.pack(self._numbers.setdefault(pack, len(self._numbers)))
        self._rows.extend(
            b"".join(
                (
                    table[at : at + CHUNK_ID_BYTES],
                    number,
                    table[at + CHUNK_ID_BYTES : at + ENTRY_BYTES],
                )
            )
            for at in range(0, len(table), ENTRY_BYTES)
        )

    def finish(self) -> bytes:
        """Return the index; nothing can be added afterwards."""
        rows = self._rows
        rows.sort(key=_id_of_row)  # keeps the order of those that are the same chunk's
        repeated = [_id_of_row(a) == _id_of_row(b) for a, b in pairwise(rows)]
        if any(repeated):
            rows = rows[:1] + list(compress(rows[1:], map(operator.not_, repeated)))
        packs = b"".join(_PACK.pack(p.pack_id, p.kind, p.object_bytes) for p in self._numbers)
        body = b"".join((packs, *rows))
        digest = blake3(body).digest()
        return _HEADER.pack(_MAGIC, _VERSION, len(self._numbers), len(rows), digest) + body


def _id_of_row(row: bytes) -> bytes:
    return row[:CHUNK_ID_BYTES]


def build(places: Mapping[ChunkId, ChunkPlace]) -> bytes:
    """Return an index of these chunks."""
    builder = IndexBuilder()
    for chunk, place in sorted(places.items(), key=lambda item: item[1].pack.pack_id):
        builder.add(chunk, place)
    return builder.finish()


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
