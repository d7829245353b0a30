"""What packs say themselves about what they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format import names, pack as pack_format
from checkpoints.format.pack import TRAILER_BYTES

if TYPE_CHECKING:
    from checkpoints.format.ids import PackId
    from checkpoints.format.pack import PackEntry, PackKind
    from checkpoints.storage.storage import Storage

TAIL_BYTES = 64 * 1024
"""Of a pack, in which its table likely is."""


async def read_table(storage: Storage, kind: PackKind, pack_id: PackId) -> list[PackEntry]:
    """Return the chunks of a pack by its own table. Raises DamagedError, StorageError."""
    key = names.pack(kind, pack_id)
    tail = await storage.get_suffix(key, TAIL_BYTES)
    trailer = pack_format.parse_trailer(tail[-TRAILER_BYTES:], pack_id)
    length = trailer.table_bytes + TRAILER_BYTES
    if length > len(tail):
        tail = await storage.get_suffix(key, length)
    return pack_format.parse_table(tail[-length:-TRAILER_BYTES], trailer)
