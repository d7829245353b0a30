"""Where a file's content is: chunks and holes, from its first byte to its last.

    list:       count u32 │ each: 0 u8 · length u64 (a hole), or 1 u8 · chunk id 32 · raw bytes u32
    references: count u32 │ each: chunk id 32 · raw bytes u32

References stand in an entry for a list that is elsewhere: see `long_lists`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId

if TYPE_CHECKING:
    from collections.abc import Sequence

FILE_BYTES_MAX = (1 << 63) - 1
"""The kernel's."""
FILE_EXTENTS_MAX = 1 << 24
"""Of a file: 16 TiB of data, or 64 GiB of which every other block is a hole. A list may be referred
to again and again, so without a limit some bytes of a made-up tree keep a reader busy for days."""
HOLE, CHUNK = 0, 1
_HOLE_EXTENT = struct.Struct("<BQ")
_CHUNK_EXTENT = struct.Struct("<B32sI")
CHUNK_EXTENT_BYTES = _CHUNK_EXTENT.size
_REFERENCE = struct.Struct("<32sI")
_ONE_CHUNK = struct.Struct("<IB32sI")
COUNT = struct.Struct("<I")


class Extent(msgspec.Struct, frozen=True, gc=False):
    """A piece of a file: which chunk holds it, or None of a hole."""

    chunk_id: ChunkId | None
    length_bytes: int


def encode_extents(extents: Sequence[Extent]) -> bytes:
    """Return a list's bytes."""
    if len(extents) == 1 and (chunk := extents[0].chunk_id) is not None:
        return _ONE_CHUNK.pack(1, CHUNK, chunk, extents[0].length_bytes)
    return COUNT.pack(len(extents)) + b"".join(
        _HOLE_EXTENT.pack(HOLE, extent.length_bytes)
        if extent.chunk_id is None
        else _CHUNK_EXTENT.pack(CHUNK, extent.chunk_id, extent.length_bytes)
        for extent in extents
    )


def decode_extents(data: bytes, at: int, size_bytes: int) -> tuple[tuple[Extent, ...], int]:
    """Return the list at `at` of a file of that size, and where it ends.

    Raises DamagedError; or struct.error or IndexError if `data` ends before it.
    """
    (count,) = COUNT.unpack_from(data, at)
    at += COUNT.size
    extents = []
    total = 0
    for _ in range(count):
        extent, at = decode_extent(data, at)
        total += extent.length_bytes
        extents.append(extent)
    check_sum(total, size_bytes)
    return tuple(extents), at


def decode_extent(data: bytes, at: int) -> tuple[Extent, int]:
    """Return the extent at `at`, and where it ends. Raises as `decode_extents` does."""
    chunk: ChunkId | None = None
    if data[at] == CHUNK:
        _, chunk, length = _CHUNK_EXTENT.unpack_from(data, at)
        at += _CHUNK_EXTENT.size
        if length > CHUNK_BYTES_MAX:
            raise DamagedError(f"a file has a chunk of {length} bytes")
    elif data[at] == HOLE:
        _, length = _HOLE_EXTENT.unpack_from(data, at)
        at += _HOLE_EXTENT.size
    else:
        raise DamagedError("a file has an unknown kind of extent")
    if not length:
        raise DamagedError("a file has an empty extent")
    return Extent(chunk, length), at


def check_sum(total_bytes: int, size_bytes: int) -> None:
    """Raise DamagedError unless extents of so many bytes are a file of that size."""
    if total_bytes != size_bytes or size_bytes > FILE_BYTES_MAX:
        raise DamagedError(f"a file of {size_bytes} bytes has {total_bytes} bytes of extents")


def encode_references(references: Sequence[Extent]) -> bytes:
    """Return what an entry has in place of a list."""
    assert references
    return COUNT.pack(len(references)) + b"".join(
        _REFERENCE.pack(each.chunk_id, each.length_bytes) for each in references
    )


def decode_references(data: bytes, at: int) -> tuple[tuple[Extent, ...], int]:
    """Return the references at `at`, and where they end. Raises as `decode_extents` does."""
    (count,) = COUNT.unpack_from(data, at)
    at += COUNT.size
    references = []
    for _ in range(count):
        chunk, length = _REFERENCE.unpack_from(data, at)
        at += _REFERENCE.size
        if not 0 < length <= CHUNK_BYTES_MAX:
            raise DamagedError(f"a list of extents has a chunk of {length} bytes")
        references.append(Extent(chunk, length))
    if not references:
        raise DamagedError("a list of extents is nowhere")
    return tuple(references), at
