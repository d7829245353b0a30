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
    from collections.abc import Callable, Iterable, Iterator

    from checkpoints.storage.storage import Part

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


class Run(msgspec.Struct, frozen=True):
    """Chunks that follow each other in a pack without a gap, as nearly all do.

    Some hundred small files are one: asked for chunk by chunk, they would be as many ranges for the
    event loop to look at, and as many reads of a folder's file.
    """

    chunks: list[Wanted]

    @property
    def range(self) -> Range:
        """Where in the pack they are."""
        first, last = self.chunks[0].place, self.chunks[-1].place
        return Range(first.offset, last.offset + last.stored_bytes - first.offset)

    def cut(self, stored: Part) -> Iterator[tuple[Wanted, memoryview]]:
        """Yield each chunk with its bytes of what was read."""
        view = memoryview(stored)
        begin = self.chunks[0].place.offset
        for wanted in self.chunks:
            start = wanted.place.offset - begin
            yield wanted, view[start : start + wanted.place.stored_bytes]


class Span(msgspec.Struct, frozen=True):
    """Chunks of one pack that are read in one request."""

    pack: PackFacts
    runs: list[Run]
    """In the order of their offsets."""

    @property
    def chunks(self) -> list[Wanted]:
        """All of them."""
        return [wanted for run in self.runs for wanted in run.chunks]

    @property
    def file_bytes(self) -> int:
        """How much of files they are."""
        return sum(
            wanted.place.raw_bytes * len(wanted.pieces)
            for run in self.runs
            for wanted in run.chunks
        )


def plan(
    pieces: Iterable[Piece],
    place_of: Callable[[ChunkId], ChunkPlace],
    *,
    damaged: Callable[[Piece, DamagedError], None],
) -> list[Span]:
    """Return what is to be read; pieces whose chunks are nowhere go to `damaged`."""
    chunks: dict[ChunkId, Wanted] = {}
    packs: dict[PackFacts, list[Wanted]] = {}
    pack: PackFacts | None = None
    found: list[Wanted] = []
    for piece in pieces:
        wanted = chunks.get(piece.chunk_id)
        try:
            if wanted is None:
                place = place_of(piece.chunk_id)
                wanted = Wanted(piece.chunk_id, place, [])
                chunks[piece.chunk_id] = wanted
                if place.pack is not pack:  # neighbours' is mostly the same, and slow to look up
                    pack = place.pack
                    found = packs.setdefault(pack, [])
                found.append(wanted)
            if wanted.place.raw_bytes != piece.length_bytes:
                raise DamagedError(f"chunk {piece.chunk_id.hex()} has another length")
        except DamagedError as error:
            damaged(piece, error)
            continue
        wanted.pieces.append(piece)
    return [span for each, members in packs.items() for span in _cut(each, members)]


def _cut(pack: PackFacts, found: list[Wanted]) -> Iterator[Span]:
    found.sort(key=lambda wanted: wanted.place.offset)
    runs: list[Run] = []
    total = end = 0
    for wanted in found:
        place = wanted.place
        if runs and total + place.stored_bytes > SPAN_BYTES_MAX:
            yield Span(pack, runs)
            runs, total = [], 0
        if runs and place.offset == end:
            runs[-1].chunks.append(wanted)
        else:
            runs.append(Run([wanted]))
        total += place.stored_bytes
        end = place.offset + place.stored_bytes
    yield Span(pack, runs)
