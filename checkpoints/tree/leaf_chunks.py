"""Which chunks the files of a leaf need, without an object for each entry.

For whoever goes through whole trees and asks for nothing else: it takes a tenth of the time.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.tree.entry import IndirectExtents, Kind
from checkpoints.tree.entry_bytes import FIXED_BYTES, INLINE, SEVERAL_NAMES, SIZE_BYTES, decode
from checkpoints.tree.extents import CHUNK, CHUNK_EXTENT_BYTES, COUNT

if TYPE_CHECKING:
    from collections.abc import Sequence


_ONE_CHUNK = struct.Struct("<BB42x8xIB32s4x")
"""A file of one chunk, as most are: its kind, flags; how many extents, of which kind, the id."""
_ONE_CHUNK_BYTES = FIXED_BYTES + SIZE_BYTES + COUNT.size + CHUNK_EXTENT_BYTES
assert _ONE_CHUNK.size == _ONE_CHUNK_BYTES
_KINDS = frozenset(Kind)
_SIMPLE = frozenset((0, SEVERAL_NAMES))
_KEPT_HERE = frozenset((INLINE, INLINE | SEVERAL_NAMES))


class LeafChunks(msgspec.Struct, frozen=True):
    """What the files of a leaf need."""

    chunk_ids: list[ChunkId]
    """All that the leaf itself names, in the order of its entries."""
    long_lists: list[IndirectExtents]
    """Lists of more, in chunks that are among `chunk_ids`: see `long_lists.extents_of`."""


def chunks_in(data: bytes, bounds: Sequence[int]) -> LeafChunks:
    """Return what entries need, or raise DamagedError if one of them can't be understood.

    They begin at all but the last of the bounds, each where the one before ends.
    """
    padded = data + bytes(_ONE_CHUNK_BYTES)  # behind the last entry there may be less
    unpack, file = _ONE_CHUNK.unpack_from, Kind.FILE
    chunk_ids: list[ChunkId] = []
    long_lists = []
    for begin, end in pairwise(bounds):
        at = begin + 2 + (data[begin] | data[begin + 1] << 8)
        if at >= end:
            raise DamagedError("an entry is shorter than its key")
        kind, flags, count, extent_kind, chunk = unpack(padded, at)
        if kind != file:
            if kind not in _KINDS:
                raise DamagedError(f"an entry has kind {kind}")
        elif (
            flags in _SIMPLE
            and end - at == _ONE_CHUNK_BYTES
            and count == 1
            and extent_kind == CHUNK
        ):
            chunk_ids.append(chunk)
        elif flags not in _KEPT_HERE:
            entry = decode(data, at, end)
            chunk_ids += entry.chunks()
            if isinstance(entry.content, IndirectExtents):
                long_lists.append(entry.content)
    return LeafChunks(chunk_ids, long_lists)
