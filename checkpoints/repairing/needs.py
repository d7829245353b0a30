"""What a generation needs and no index finds, and where it is all the same.

Found is what is whole where an index says. What isn't, may be in a pack that nobody knows of any
more because an index was lost; or have been stored again by somebody else.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from checkpoints.chunk_source import ChunkSource
from checkpoints.collecting.walk import Marker, Walk

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from checkpoints.collecting.interruptible import Interruptible
    from checkpoints.collecting.listing import ListedPack
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace, Index
    from checkpoints.format.record import Record
    from checkpoints.repairing.places import Places
    from checkpoints.repository import Repository


class Needs(Marker):
    """Looks at one generation after the other, oldest first."""

    def __init__(
        self,
        repository: Repository,
        thread: Interruptible,
        *,
        moved: Sequence[Index],
        packs: Mapping[PackId, ListedPack],
        bad: Mapping[PackId, Collection[ChunkId]],
        places: Places,
    ) -> None:
        """`packs` are those that are there, `bad` what of them can't be read."""
        super().__init__(thread)
        self.found: dict[ChunkId, ChunkPlace] = {}
        """Of the generation that was looked at last."""
        self.is_whole = True
        """Whether all that it needs is known."""
        self.withheld: set[ChunkId] = set()
        """Of all generations: what is there, but not for them."""
        self._repository = repository
        self._moved = tuple(moved)
        self._packs = packs
        self._bad = bad
        self._places = places
        self._elsewhere: tuple[Index, ...] = ()
        self._not_for_all = (places.withheld, places.young)

    @property
    def unlisted(self) -> Index:
        """What is in packs that no index lists."""
        return self._places.unlisted

    async def look(self, record: Record, indexes: Sequence[Index], *, alone: bool) -> None:
        """Look at a generation with those of its indexes that can be read.

        `alone` says that nobody else will be told what is found.
        """
        places = self._places
        self.found, self.is_whole = {}, True
        self._elsewhere = (places.shared, places.young) if alone else (places.shared,)
        source = ChunkSource(
            self._repository.storage,
            (*indexes, places.shared, *self._not_for_all),
            self._repository.moved,
            self._moved,
        )
        await self.thread.run(Walk(self, record, indexes, source).run)

    # ── In the thread: what the walk asks for ────────────────────────────────

    def mark_chunks(self, chunks: Sequence[ChunkId], indexes: Sequence[Index]) -> ChunkId | None:
        """Take notice of chunks that are needed; return one that can't be had, if any."""
        lost = None
        for chunk in chunks:
            if chunk in self.found or self._is_known(chunk, indexes):
                continue
            place = next((p for index in self._elsewhere if (p := index.find(chunk))), None)
            if place is not None:
                self.found[chunk] = place
            elif any(chunk in index for index in self._not_for_all):
                self.withheld.add(chunk)
            else:
                lost = lost or chunk
        return lost

    def mark_everything(self, indexes: Sequence[Index]) -> None:
        """Take notice of all that some indexes have: where a node is lost, it may be needed."""
        self.is_whole = False
        for chunk, _ in chain.from_iterable(index.items() for index in indexes):
            self.mark_chunks([chunk], indexes)

    def _is_known(self, chunk: ChunkId, indexes: Sequence[Index]) -> bool:
        """Say whether a reader finds a chunk whole."""
        for index in chain(self._moved, indexes):
            place = index.find(chunk)
            if place is None:
                continue
            pack_id = place.pack.pack_id
            if pack_id in self._packs and chunk not in self._bad.get(pack_id, ()):
                return True
        return False
