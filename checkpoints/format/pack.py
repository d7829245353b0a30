"""A pack: chunks back to back, a table of them, and a trailer from which all else is found.

chunks…  │ table: 48 bytes each │ trailer: 64 bytes
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from blake3 import blake3

from checkpoints.format.codec import CHUNK_BYTES_MAX
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CHUNK_ID_BYTES, ChunkId, PackId

if TYPE_CHECKING:
    from collections.abc import Sequence

PACK_BYTES_MAX = 16 * 1024 * 1024
OBJECT_BYTES_MAX = PACK_BYTES_MAX + CHUNK_BYTES_MAX
"""What is longer is no pack: nobody makes room for what somebody claims."""
PACK_BYTES_FULL = 8 * 1024 * 1024
"""A pack with as many bytes of chunks is closed: large enough for a store's throughput, small
enough that rewriting one is nothing."""
TRAILER_BYTES = 64
ENTRY_BYTES = 48
_MAGIC = b"STPK"
_VERSION = 1
_TRAILER = struct.Struct("<4sBB2xII16s32s")
_ENTRY = struct.Struct("<32sIIIB3x")
assert _TRAILER.size == TRAILER_BYTES
assert _ENTRY.size == ENTRY_BYTES


class PackKind(IntEnum):
    """What is in a pack. They are apart so that looking into trees never reads files."""

    DATA = 1
    TREE = 2


@dataclass(frozen=True, slots=True)
class PackEntry:
    """One chunk in a pack. Sizes in bytes."""

    chunk_id: ChunkId
    offset: int
    stored_bytes: int
    raw_bytes: int
    codec: int


@dataclass(frozen=True, slots=True)
class Trailer:
    """What the last bytes of a pack say."""

    kind: PackKind
    pack_id: PackId
    count: int
    table_offset: int
    table_hash: bytes

    @property
    def table_bytes(self) -> int:
        return self.count * ENTRY_BYTES

    @property
    def pack_bytes(self) -> int:
        """How large the whole object is."""
        return self.table_offset + self.table_bytes + TRAILER_BYTES


def footer(kind: PackKind, pack_id: PackId, entries: Sequence[PackEntry]) -> bytes:
    """Return what follows the chunks of a pack: table and trailer."""
    table = b"".join(
        _ENTRY.pack(entry.chunk_id, entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec)
        for entry in entries
    )
    end = entries[-1].offset + entries[-1].stored_bytes if entries else 0
    trailer = _TRAILER.pack(
        _MAGIC, _VERSION, kind, len(entries), end, pack_id, blake3(table).digest()
    )
    return table + trailer


def parse_trailer(data: bytes | memoryview, expected: PackId) -> Trailer:
    """Return what the last TRAILER_BYTES of the pack `expected` say, or raise DamagedError."""
    if len(data) != TRAILER_BYTES:
        raise DamagedError("the pack is shorter than its trailer")
    magic, version, kind, count, offset, pack_id, table_hash = _TRAILER.unpack(data)
    if magic != _MAGIC:
        raise DamagedError("the object is no pack, or was cut off")
    if version != _VERSION:
        raise DamagedError(f"the pack has version {version}")
    if pack_id != expected:
        raise DamagedError(f"the pack is {pack_id.hex()} by its own account")
    if kind not in {PackKind.DATA, PackKind.TREE}:
        raise DamagedError(f"the pack has the unknown kind {kind}")
    trailer = Trailer(PackKind(kind), PackId(pack_id), count, offset, table_hash)
    if trailer.pack_bytes > OBJECT_BYTES_MAX:
        raise DamagedError("the pack claims to be larger than a pack may be")
    return trailer


def parse_table(data: bytes | memoryview, trailer: Trailer) -> list[PackEntry]:
    """Return the chunks of a pack in their order, or raise DamagedError."""
    if len(data) != trailer.table_bytes or blake3(data).digest() != trailer.table_hash:
        raise DamagedError("the table of the pack has other content")
    entries = [
        PackEntry(ChunkId(chunk), offset, stored, raw, codec)
        for chunk, offset, stored, raw, codec in _ENTRY.iter_unpack(data)
    ]
    at = 0
    for entry in entries:
        if entry.offset != at or entry.raw_bytes > CHUNK_BYTES_MAX:
            raise DamagedError(f"chunk {entry.chunk_id.hex()} of the pack is misplaced")
        at += entry.stored_bytes
    if at != trailer.table_offset:
        raise DamagedError("the chunks of the pack don't end where its table begins")
    return entries


assert len(blake3(b"").digest()) == CHUNK_ID_BYTES
