"""Chunks as they are stored: raw, or as one zstd frame.

Compression and hashing let other threads run. What comes out is checked against the chunk's id, so
nothing wrong is ever handed on, whatever a store, a disk or a wire has done to it.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from typing import TYPE_CHECKING

import zstandard

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import chunk_id

if TYPE_CHECKING:
    from checkpoints.format.ids import ChunkId

CHUNK_BYTES_MAX = 4 * 1024 * 1024
LEVEL_DEFAULT = 1
"""420 MB/s a core, against 260 at level 3 for a tenth less to store; the collector does better on
what turns out to be kept."""
SAMPLE_BYTES = 32 * 1024
SAMPLED_BYTES_MIN = 256 * 1024
"""Of shorter chunks none is taken: nearly all of them shrink, and it would be a sixth more work."""
WORTHWHILE_RATIO = 1.05
"""What shrinks less is stored raw: media and archives cost no time then."""
HURRIED_RATIO = 1.1
"""At the level of first writes, of a sample. Arrays of numbers shrink by 7 % and take as long as
all else together; the collector takes that time once they turn out to be kept."""
_TINY_BYTES = 64  # a frame's own bytes cost more than it saves
_NOT_SAID = -1  # what a frame answers that doesn't know its length


class Codec(IntEnum):
    """How a chunk is stored."""

    RAW = 0
    ZSTD = 1


_local = threading.local()


def encode(raw: bytes | memoryview, *, level: int = LEVEL_DEFAULT) -> tuple[Codec, bytes]:
    """Return a chunk as it is to be stored."""
    assert len(raw) <= CHUNK_BYTES_MAX
    if len(raw) <= _TINY_BYTES:
        return Codec.RAW, bytes(raw)
    compressor = _compressor(level)
    if len(raw) >= SAMPLED_BYTES_MIN:
        middle = (len(raw) - SAMPLE_BYTES) // 2
        sample = compressor.compress(memoryview(raw)[middle : middle + SAMPLE_BYTES])
        worthwhile = HURRIED_RATIO if level == LEVEL_DEFAULT else WORTHWHILE_RATIO
        if len(sample) * worthwhile > SAMPLE_BYTES:
            return Codec.RAW, bytes(raw)
    stored = compressor.compress(raw)
    if len(stored) * WORTHWHILE_RATIO > len(raw):
        return Codec.RAW, bytes(raw)
    return Codec.ZSTD, stored


def decode(stored: bytes | memoryview, codec: int, *, raw_bytes: int, expected: ChunkId) -> bytes:
    """Return a chunk's raw bytes, or raise DamagedError if they aren't those of its id."""
    return bytes(decode_in_place(stored, codec, raw_bytes=raw_bytes, expected=expected))


def decode_in_place(
    stored: bytes | memoryview, codec: int, *, raw_bytes: int, expected: ChunkId
) -> bytes | memoryview:
    """As `decode`, but what is stored raw is returned as it was given, and not copied."""
    raw: bytes | memoryview
    if codec == Codec.RAW:
        raw = stored
    elif codec == Codec.ZSTD:
        raw = _decompressed(stored, raw_bytes)
    else:
        raise DamagedError(f"a chunk has the unknown codec {codec}")
    if len(raw) != raw_bytes or chunk_id(raw) != expected:
        raise DamagedError(f"chunk {expected.hex()} has other content")
    return raw


def _decompressed(stored: bytes | memoryview, raw_bytes: int) -> bytes:
    if raw_bytes > CHUNK_BYTES_MAX:
        raise DamagedError(f"a chunk claims {raw_bytes} bytes")
    try:
        claimed = zstandard.frame_content_size(stored)
        if claimed not in {raw_bytes, _NOT_SAID}:
            raise DamagedError(f"a chunk of {raw_bytes} bytes claims {claimed}")
        return _decompressor().decompress(stored, max_output_size=raw_bytes)
    except zstandard.ZstdError as error:
        raise DamagedError(f"a chunk can't be decompressed: {error}") from None


def _compressor(level: int) -> zstandard.ZstdCompressor:
    """One per thread and level: neither may be shared, making one costs more than a small chunk."""
    found: dict[int, zstandard.ZstdCompressor] | None = getattr(_local, "compressors", None)
    if found is None:
        found = _local.compressors = {}
    if level not in found:
        found[level] = zstandard.ZstdCompressor(level=level, write_checksum=False)
    return found[level]


def _decompressor() -> zstandard.ZstdDecompressor:
    found: zstandard.ZstdDecompressor | None = getattr(_local, "decompressor", None)
    if found is None:
        found = _local.decompressor = zstandard.ZstdDecompressor()
    return found
