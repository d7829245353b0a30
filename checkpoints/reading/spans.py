"""Which chunks are read together, and which pieces of which files each of them is. Pure.

Pieces come in the order of a tree. Writers put chunks into packs in that order, so a span, which is
a part of one pack, is mostly some neighbouring files; where a chunk is in many files, it is read
and decompressed once for all of them that are in the same batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.format.index import ChunkPlace, PackFacts
from checkpoints.reading.making import File
from checkpoints.storage.storage import Range

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

SPAN_BYTES_MAX = 4 << 20
"""Of stored bytes in one request: some of these are in memory at once."""


class Piece(msgspec.Struct, frozen=True, gc=False):
    """Where a chunk belongs."""

    file: File
    offset: int
    chunk_id: ChunkId
    length_bytes: int


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """A chunk, where it is, and what it is for."""

    chunk_id: ChunkId
    place: ChunkPlace
    pieces: list[Piece]


class Span(msgspec.Struct, frozen=True):
    """Chunks of one pack that are read in one request, in the order of their offsets."""

    pack: PackFacts
    chunks: tuple[Wanted, ...]

    @property
    def ranges(self) -> list[Range]:
        """Where in the pack they are."""
        return [Range(wanted.place.offset, wanted.place.stored_bytes) for wanted in self.chunks]

    @property
    def file_bytes(self) -> int:
        """How much of files they are."""
        return sum(wanted.place.raw_bytes * len(wanted.pieces) for wanted in self.chunks)


def plan(
    pieces: Iterable[Piece],
    place_of: Callable[[ChunkId], ChunkPlace],
    *,
    damaged: Callable[[Piece, DamagedError], None],
) -> list[Span]:
    """Return what is to be read; pieces whose chunks are nowhere go to `damaged`."""
    chunks: dict[ChunkId, Wanted] = {}
    packs: dict[PackFacts, list[Wanted]] = {}
    for piece in pieces:
        wanted = chunks.get(piece.chunk_id)
        try:
            if wanted is None:
                place = place_of(piece.chunk_id)
                wanted = Wanted(piece.chunk_id, place, [])
                chunks[piece.chunk_id] = wanted
                packs.setdefault(place.pack, []).append(wanted)
            if wanted.place.raw_bytes != piece.length_bytes:
                raise DamagedError(f"chunk {piece.chunk_id.hex()} has another length")
        except DamagedError as error:
            damaged(piece, error)
            continue
        wanted.pieces.append(piece)
    return [span for pack, found in packs.items() for span in _cut(pack, found)]


def _cut(pack: PackFacts, found: list[Wanted]) -> Iterable[Span]:
    found.sort(key=lambda wanted: wanted.place.offset)
    first = 0
    total = 0
    for number, wanted in enumerate(found):
        if number > first and total + wanted.place.stored_bytes > SPAN_BYTES_MAX:
            yield Span(pack, tuple(found[first:number]))
            first, total = number, 0
        total += wanted.place.stored_bytes
    yield Span(pack, tuple(found[first:]))
