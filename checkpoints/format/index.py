"""Where chunks are: a sorted table, looked up as it lies in memory.

    header: 64 bytes │ packs: 24 bytes each │ chunks: 52 bytes each, ascending by id

A million chunks are 52 MB of bytes and no object; a look-up is a search by halves, with the first
guess made from the id itself, because hashes are evenly spread: some two or three steps.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

from blake3 import blake3

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, PackId
from checkpoints.format.pack import ENTRY_BYTES, OBJECT_BYTES_MAX, PackKind

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from checkpoints.format.names import Place

HEADER_BYTES = 64
_MAGIC = b"STIX"
_VERSION = 1
_HEADER = struct.Struct("<4sB3sII16s32s")
_PACK = struct.Struct("<16sB3xI")
_CHUNK = struct.Struct("<32sIIIIB3x")
_PLACE = struct.Struct("<IIIIB")
_NUMBER = struct.Struct("<I")
_PREFIX = struct.Struct(">Q")
_PREFIX_SPAN = 1 << 64
_BUCKETS = 256
"""An index is made piece by piece, by the first byte of ids: so there are objects for few rows."""
assert _HEADER.size == HEADER_BYTES


IndexName = NewType("IndexName", bytes)
"""What an index says it is, 16 bytes: so one can't be taken for another."""
UNNAMED = IndexName(bytes(16))
"""In memory only."""
_NAME_AT = 16


def name_of(place: Place) -> IndexName:
    """Return the name of a checkpoint's index."""
    number = place.generation.to_bytes(8, "little")
    return IndexName(bytes.fromhex(place.checkpoint_id) + number)


def name_of_moved(first_pack_id: PackId) -> IndexName:
    """Return the name of a list of moved chunks."""
    return IndexName(first_pack_id)


def named(data: bytes, name: IndexName) -> bytes:
    """Return an index under a name. The hash that it has is not of its header."""
    return data[:_NAME_AT] + name + data[_NAME_AT + len(UNNAMED) :]


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
    """An index in the making: rows of bytes, no object for a chunk.

    Of the same chunk twice, what was added first counts.
    """

    def __init__(self) -> None:
        self._numbers: dict[PackFacts, int] = {}
        self._buckets: list[list[bytes]] = [[] for _ in range(_BUCKETS)]
        self._indexes: list[tuple[Index, list[bytes | None]]] = []

    def add(self, chunk: ChunkId, place: ChunkPlace) -> None:
        """Add one chunk. Comes before whatever `add_index` adds."""
        number = self._numbers.setdefault(place.pack, len(self._numbers))
        self._buckets[chunk[0]].append(
            _CHUNK.pack(
                chunk, number, place.offset, place.stored_bytes, place.raw_bytes, place.codec
            )
        )

    def add_table(self, pack: PackFacts, table: bytes) -> None:
        """Add all chunks of a pack, given its table. Comes before whatever `add_index` adds."""
        number = _NUMBER.pack(self._numbers.setdefault(pack, len(self._numbers)))
        buckets = self._buckets
        for at in range(0, len(table), ENTRY_BYTES):
            split = at + CHUNK_ID_BYTES
            buckets[table[at]].append(table[at:split] + number + table[split : at + ENTRY_BYTES])

    def add_index(self, index: Index, *, without: Collection[PackId] = ()) -> None:
        """Add all that an index knows, but for chunks in some packs. It is read in `finish`."""
        numbers = [
            None
            if pack.pack_id in without
            else _NUMBER.pack(self._numbers.setdefault(pack, len(self._numbers)))
            for pack in index.packs
        ]
        self._indexes.append((index, numbers))

    def finish(self) -> bytes:
        """Return the index, unnamed; nothing can be added afterwards. Raises DamagedError."""
        sorted_rows: list[bytes] = []
        count = 0
        for first_byte, bucket in enumerate(self._buckets):
            rows: dict[bytes, bytes] = {}
            for row in bucket:
                rows.setdefault(row[:CHUNK_ID_BYTES], row)
            bucket.clear()
            for index, numbers in self._indexes:
                index.copy_rows(first_byte, numbers, rows)
            count += len(rows)
            sorted_rows.append(b"".join([rows[chunk] for chunk in sorted(rows)]))
        packs = b"".join(_PACK.pack(p.pack_id, p.kind, p.object_bytes) for p in self._numbers)
        body = b"".join((packs, *sorted_rows))
        digest = blake3(body).digest()
        header = _HEADER.pack(
            _MAGIC, _VERSION, bytes(3), len(self._numbers), count, UNNAMED, digest
        )
        return header + body


def build(places: Mapping[ChunkId, ChunkPlace], name: IndexName = UNNAMED) -> bytes:
    """Return an index of these chunks."""
    builder = IndexBuilder()
    for chunk, place in sorted(places.items(), key=lambda item: item[1].pack.pack_id):
        builder.add(chunk, place)
    return named(builder.finish(), name)


class Index:
    """A parsed index. Keeps the bytes it was given, and no more."""

    def __init__(self, data: bytes, expected: IndexName | None = None) -> None:
        """Raise DamagedError if it is not what was written, or not the one expected."""
        if len(data) < HEADER_BYTES:
            raise DamagedError("the index is shorter than its header")
        magic, version, zeros, packs, chunks, name, digest = _HEADER.unpack_from(data)
        if magic != _MAGIC:
            raise DamagedError("the object is no index")
        if version != _VERSION:
            raise DamagedError(f"the index has version {version}")
        if any(zeros):
            raise DamagedError("the index has a header of another form")
        if name != (name if expected is None else expected):
            raise DamagedError("the index is another one by its own account")
        self._table = HEADER_BYTES + packs * _PACK.size
        if len(data) != self._table + chunks * _CHUNK.size:
            raise DamagedError("the index was cut off")
        if blake3(memoryview(data)[HEADER_BYTES:]).digest() != digest:
            raise DamagedError("the index has other content")
        self._data = data
        self._count = chunks
        try:
            self.packs = tuple(
                PackFacts(PackId(pack_id), PackKind(kind), size)
                for pack_id, kind, size in _PACK.iter_unpack(data[HEADER_BYTES : self._table])
            )
        except ValueError:
            raise DamagedError("the index has a pack of an unknown kind") from None
        if any(pack.object_bytes > OBJECT_BYTES_MAX for pack in self.packs):
            raise DamagedError("the index has a pack that is too large for one")

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

    def copy_rows(
        self, first_byte: int, numbers: Sequence[bytes | None], rows: dict[bytes, bytes]
    ) -> None:
        """Put rows of chunks whose ids begin with a byte into `rows`, unless the chunk has one.

        Packs get the given numbers, as bytes; those that have None are left out.
        """
        data, size = self._data, _CHUNK.size
        for number in range(self._first(first_byte), self._first(first_byte + 1)):
            at = self._table + number * size
            split = at + CHUNK_ID_BYTES
            chunk = data[at:split]
            if chunk in rows:
                continue
            behind = split + _NUMBER.size
            (old,) = _NUMBER.unpack_from(data, split)
            if old >= len(numbers):
                raise DamagedError("the index names a pack that it doesn't list")
            if (new := numbers[old]) is not None:
                rows[chunk] = chunk + new + data[behind : at + size]

    def _first(self, first_byte: int) -> int:
        """Return the number of the first chunk whose id begins with a byte, or a larger one."""
        return bisect_left(
            range(self._count),
            first_byte,
            key=lambda number: self._data[self._table + number * _CHUNK.size],
        )

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
        facts = self.packs[pack]
        if raw > CHUNK_BYTES_MAX or offset + stored > facts.object_bytes:
            raise DamagedError("the index has a chunk that no pack could hold")
        return ChunkPlace(facts, offset, stored, raw, codec)


def merged(indexes: Iterable[Index], *, without: Collection[PackId] = ()) -> bytes:
    """Return one unnamed index of all that some know, but for chunks in some packs.

    Of a chunk in several, the first one's place counts. Raises DamagedError.
    """
    builder = IndexBuilder()
    for index in indexes:
        builder.add_index(index, without=without)
    return builder.finish()
