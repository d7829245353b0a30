"""Which chunks need not be stored, because they are.

Known are the chunks of this write, those of the generation before it, and those of other
checkpoints in the same work directory that nobody writes to any more. What the generation before it
reaches is kept for as long as that is. All else may be on its way out: a pack with a tombstone is
never relied on, and those that were relied on are looked at once more before the commit
(`Known.packs`, see `reliance`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace, Index, PackFacts

OTHERS_BYTES_MAX = 48 * 1024 * 1024
"""Of other checkpoints' indexes, 52 bytes a chunk: nearly a million chunks are known."""


class Known:
    """What is stored already. Threads ask, one writes."""

    def __init__(
        self,
        own: Sequence[Index] = (),
        *,
        moved: Sequence[Index] = (),
        others: Index | None = None,
        banned: Collection[PackId] = (),
    ) -> None:
        """`banned` packs have tombstones, or are gone."""
        self._own = tuple(own)
        self._moved = tuple(moved)
        self._others = () if others is None else (others,)
        self._banned = frozenset(banned)
        self._new: set[ChunkId] = set()
        self.reused: dict[ChunkId, ChunkPlace] = {}
        """Chunks that were found in others' indexes: this generation's has to repeat them."""
        self.packs: dict[PackId, PackFacts] = {}
        """All that was relied on, and has to be there still when the generation is committed."""

    def has(self, chunk: ChunkId) -> bool:
        """Return whether a chunk need not be stored."""
        if chunk in self._new:
            return True
        if self._found_in(self._moved, chunk) is not None:
            return True  # and where it was before, it may not be any more
        for index in self._own:
            if (place := index.find(chunk)) is not None and self._may_use(place):
                return True
        return self._found_in(self._others, chunk) is not None

    def _found_in(self, indexes: Sequence[Index], chunk: ChunkId) -> ChunkPlace | None:
        """Return where a chunk is according to indexes that aren't this checkpoint's."""
        for index in indexes:
            if (place := index.find(chunk)) is not None and self._may_use(place):
                self.reused[chunk] = place
                return place
        return None

    def add(self, chunk: ChunkId) -> bool:
        """Say that a chunk will be stored now; False if another thread said so before."""
        if chunk in self._new:
            return False
        self._new.add(chunk)
        return True

    def _may_use(self, place: ChunkPlace) -> bool:
        if place.pack.pack_id in self._banned:
            return False
        self.packs[place.pack.pack_id] = place.pack
        return True
