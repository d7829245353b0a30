"""A piece of a tree: taken apart, looked into, put together.

    header: "STND" · level u8 · 3 zero bytes · count u32 · offset of the table u32
    entries, back to back, ascending by key │ table: count × u32, where each begins

A node stays the bytes it came as. Its table is looked into where it lies, so that opening a node of
a thousand entries costs some microseconds and no objects; looking one up costs ten comparisons.

An entry of an inner node describes a child:

    key length u16 │ key of its first entry │ id 32 · raw bytes u32 · entries u64 · file bytes u64
"""

from __future__ import annotations

import struct
import sys
from bisect import bisect_left
from functools import wraps
from itertools import pairwise
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

import msgspec

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, chunk_id
from checkpoints.tree import keys
from checkpoints.tree.entry_bytes import decode, file_bytes_at
from checkpoints.tree.keys import PATH_BYTES_MAX, Key
from checkpoints.tree.leaf_chunks import chunks_in
from checkpoints.tree.stamps import stamps_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.leaf_chunks import LeafChunks
    from checkpoints.tree.stamps import Stamp

NODE_BYTES_MIN = 32 * 1024
"""With fewer, requests and hashes would outweigh what they are for."""
NODE_BYTES_MAX = 512 * 1024
"""What changing one entry costs at worst, and what must be read to see one."""
HEADER_BYTES = 16
TABLE_ENTRY_BYTES = 4
_MAGIC = b"STND"
_HEADER = struct.Struct("<4sB3sII")
_CHILD = struct.Struct("<32sIQQ")
_KEY_LENGTH = struct.Struct("<H")
FILE_BYTES_MODULUS = 1 << 64
"""Three files with nothing in them can be as long as that together."""
CHILD_BYTES_MAX = _KEY_LENGTH.size + PATH_BYTES_MAX + _CHILD.size
assert _HEADER.size == HEADER_BYTES
assert sys.byteorder == "little", "tables are read as they lie in memory"


class Fetch(Protocol):
    """Where nodes come from."""

    def __call__(self, chunk: ChunkId, /) -> bytes:
        """Return the raw bytes of a chunk, which have this id, or raise DamagedError.

        Whatever else it raises goes on to the caller.
        """


class Put(Protocol):
    """Where nodes go to."""

    def __call__(self, raw: bytes, /) -> ChunkId:
        """Keep a chunk, and return its id. The same bytes may come again."""


class Child(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A node, as the one above it knows it."""

    key: Key
    """Of its first entry."""
    chunk_id: ChunkId
    raw_bytes: int
    entries: int
    """In it and below it, without those of inner nodes."""
    file_bytes: int
    """Sum of the sizes of these entries' files; one with several names counts as often. Modulo
    FILE_BYTES_MODULUS."""


def encode_child(child: Child) -> bytes:
    """Return the entry of an inner node."""
    numbers = _CHILD.pack(child.chunk_id, child.raw_bytes, child.entries, child.file_bytes)
    return _KEY_LENGTH.pack(len(child.key)) + child.key + numbers


def child_id(item: bytes) -> bytes:
    """Return the id in an entry of an inner node, which is valid."""
    split = len(item) - _CHILD.size
    return item[split : split + CHUNK_ID_BYTES]


def decode_child(item: bytes) -> Child:
    """Return what an entry of an inner node says, or raise DamagedError."""
    split = len(item) - _CHILD.size
    if split < _KEY_LENGTH.size or _KEY_LENGTH.unpack_from(item)[0] != split - _KEY_LENGTH.size:
        raise DamagedError("an entry of an inner node has a wrong length")
    chunk_id, raw_bytes, entries, file_bytes = _CHILD.unpack_from(item, split)
    if not 0 < raw_bytes <= NODE_BYTES_MAX or not entries:
        raise DamagedError("an inner node refers to something that is no node")
    return Child(
        key=Key(item[_KEY_LENGTH.size : split]),
        chunk_id=chunk_id,
        raw_bytes=raw_bytes,
        entries=entries,
        file_bytes=file_bytes,
    )


def assemble(level: int, items: Sequence[bytes], offsets: Sequence[int], end: int) -> bytes:
    """Return a node of these entries, or runs of entries, that begin at these offsets."""
    header = _HEADER.pack(_MAGIC, level, bytes(3), len(offsets), end)
    return b"".join((header, *items, struct.pack(f"<{len(offsets)}I", *offsets)))


P = ParamSpec("P")
R = TypeVar("R")


def _naming_the_node(
    look: Callable[Concatenate[Node, P], R],
) -> Callable[Concatenate[Node, P], R]:
    """Let a look at a node's entries say whose they are, if they are damaged."""

    @wraps(look)
    def named(node: Node, /, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return look(node, *args, **kwargs)
        except DamagedChunkError:
            raise
        except DamagedError as error:
            raise DamagedChunkError(node.compute_id(), str(error)) from None

    return named


class Node:
    """A valid header and table; entries are checked by whoever looks at them.

    What looks at them raises DamagedChunkError.
    """

    __slots__ = ("_data", "_end", "count", "level", "offsets")

    def __init__(self, data: bytes) -> None:
        """Take a node apart, or raise DamagedError."""
        if not HEADER_BYTES < len(data) <= NODE_BYTES_MAX:
            raise DamagedError(f"a node has {len(data)} bytes")
        magic, level, zeros, count, end = _HEADER.unpack_from(data)
        if magic != _MAGIC or any(zeros):
            raise DamagedError("a chunk is no node")
        if not count or end <= HEADER_BYTES or end + count * TABLE_ENTRY_BYTES != len(data):
            raise DamagedError("a node has another length than its entries")
        offsets = memoryview(data)[end:].cast("I")
        ordered = offsets.tolist()
        if ordered[0] != HEADER_BYTES or ordered[-1] >= end or ordered != sorted(ordered):
            raise DamagedError("a node's table is out of order")
        self._data = data
        self._end: int = end
        self.level: int = level
        self.count: int = count
        self.offsets = offsets
        """Where entries begin."""

    @property
    def raw_bytes(self) -> int:
        return len(self._data)

    def compute_id(self) -> ChunkId:
        """Return its id, which isn't kept: it is needed only where something is wrong."""
        return chunk_id(self._data)

    def key(self, number: int) -> Key:
        at = self.offsets[number]
        data = self._data
        return Key(data[at + 2 : at + 2 + (data[at] | data[at + 1] << 8)])

    @property
    def last_key(self) -> Key:
        return self.key(self.count - 1)

    def end_of(self, number: int) -> int:
        """Return where an entry ends."""
        return self.offsets[number + 1] if number + 1 < self.count else self._end

    def length_up_to(self, number: int) -> int:
        """Return how long the node would be if it ended after this entry."""
        return self.end_of(number) + TABLE_ENTRY_BYTES * (number + 1)

    def items(self, low: int, high: int) -> bytes:
        """Return the bytes of the entries from `low` up to but without `high`."""
        return self._data[self.offsets[low] : self.end_of(high - 1)]

    def find(self, key: Key, low: int = 0) -> int:
        """Return the number of the first entry from `low` on whose key is not smaller."""
        return bisect_left(range(self.count), key, low, self.count, key=self.key)

    def find_child(self, key: Key) -> int:
        """Return the number of the child in whose reach a key is, which is not before the first."""
        number = self.find(key)
        if number < self.count and self.key(number) == key:
            return number
        assert number
        return number - 1

    @_naming_the_node
    def child(self, number: int) -> Child:
        assert self.level
        return decode_child(self.items(number, number + 1))

    @_naming_the_node
    def keys(self, low: int, high: int) -> Sequence[Key]:
        """Return the keys of some entries."""
        data = self._data
        return keys.check(
            [
                data[at + 2 : at + 2 + (data[at] | data[at + 1] << 8)]
                for at in self.offsets[low:high].tolist()
            ]
        )

    @_naming_the_node
    def entry(self, number: int) -> Entry:
        """Return a leaf's entry, or raise DamagedError."""
        at = self.offsets[number]
        data = self._data
        return decode(data, at + 2 + (data[at] | data[at + 1] << 8), self.end_of(number))

    @_naming_the_node
    def entries(self, low: int, high: int) -> list[tuple[Key, Entry]]:
        """Return some of a leaf's entries with their keys, or raise DamagedError."""
        data = self._data
        return [
            (key, decode(data, at + 2 + len(key), end))
            for key, (at, end) in zip(
                self.keys(low, high), pairwise(self._bounds(low, high)), strict=True
            )
        ]

    @_naming_the_node
    def stamps(self, low: int, high: int) -> Sequence[Stamp]:
        """Return what tells whether some of a leaf's entries are unchanged, or DamagedError."""
        return stamps_in(self._data, self.keys(low, high), self._bounds(low, high))

    @_naming_the_node
    def chunks(self) -> LeafChunks:
        """Return which chunks a leaf's files need, or raise DamagedError if one isn't clear."""
        return chunks_in(self._data, self._bounds(0, self.count))

    def _bounds(self, low: int, high: int) -> list[int]:
        """Return where some entries begin, and where the last of them ends."""
        return [*self.offsets[low:high].tolist(), self.end_of(high - 1)]

    @_naming_the_node
    def weigh(self, low: int, high: int) -> tuple[int, int]:
        """Return how many entries, and bytes of files, are in or below some entries."""
        if self.level:
            children = [self.child(number) for number in range(low, high)]
            return sum(c.entries for c in children), sum(c.file_bytes for c in children)
        data = self._data
        return high - low, sum(
            file_bytes_at(data, at + 2 + (data[at] | data[at + 1] << 8))
            for at in self.offsets[low:high].tolist()
        )
