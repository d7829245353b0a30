"""Whether a pack is what was written, and what indexes say about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format import pack as pack_format
from checkpoints.format.codec import decode_in_place
from checkpoints.format.damage import DamagedError
from checkpoints.format.pack import TRAILER_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import Index
    from checkpoints.format.pack import PackEntry, PackKind


@dataclass(slots=True)
class CheckedPack:
    """What a pack has."""

    table: Sequence[PackEntry] = ()
    problem: str = ""
    """What is wrong with it, in a few words."""
    bad: dict[ChunkId, str] = field(default_factory=dict)
    """Chunks that are something else than they should be, and why."""


def check_pack(kind: PackKind, pack_id: PackId, data: bytes) -> CheckedPack:
    """Look at every byte of a pack."""
    try:
        table = _table(kind, pack_id, data)
    except DamagedError as error:
        return CheckedPack(problem=str(error))
    bad: dict[ChunkId, str] = {}
    for entry in table:
        stored = memoryview(data)[entry.offset : entry.offset + entry.stored_bytes]
        try:
            decode_in_place(stored, entry.codec, raw_bytes=entry.raw_bytes, expected=entry.chunk_id)
        except DamagedError as error:
            bad[entry.chunk_id] = str(error)
    problem = f"{len(bad)} of {len(table)} chunks: {next(iter(bad.values()))}" if bad else ""
    return CheckedPack(table, problem, bad)


def _table(kind: PackKind, pack_id: PackId, data: bytes) -> Sequence[PackEntry]:
    trailer = pack_format.parse_trailer(data[-TRAILER_BYTES:], pack_id)
    if trailer.kind is not kind or trailer.pack_bytes != len(data):
        raise DamagedError("the pack is of another kind or length than it says")
    end = trailer.table_offset + trailer.table_bytes
    table = pack_format.parse_table(data[trailer.table_offset : end], trailer)
    if data[trailer.table_offset :] != pack_format.footer(kind, pack_id, table):
        raise DamagedError("the pack's trailer has something where nothing must be")
    return table


def check_by_indexes(pack_id: PackId, data: bytes, indexes: Iterable[Index]) -> dict[ChunkId, str]:
    """Return the bad chunks of a pack whose own table can't be used, of those that indexes know."""
    bad: dict[ChunkId, str] = {}
    for index in indexes:
        for chunk, place in index.items():
            if place.pack.pack_id != pack_id or chunk in bad:
                continue
            stored = memoryview(data)[place.offset : place.offset + place.stored_bytes]
            try:
                decode_in_place(stored, place.codec, raw_bytes=place.raw_bytes, expected=chunk)
            except DamagedError as error:
                bad[chunk] = str(error)
    return bad


def contradiction(index: Index, pack_id: PackId, table: Iterable[PackEntry]) -> str:
    """Return what an index says else about a pack than it does itself, or ""."""
    for entry in table:
        place = index.find(entry.chunk_id)
        if place is None or place.pack.pack_id != pack_id:
            continue
        said = (place.offset, place.stored_bytes, place.raw_bytes, place.codec)
        if said != (entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec):
            return f"has chunk {entry.chunk_id.hex()} at the wrong place"
    return ""
