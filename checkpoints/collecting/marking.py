"""Which chunks any generation needs, each where a reader would look for it first.

    records, oldest first ─ tree and base ─ nodes from the top ─ entries ─ chunks ─ `Marks`

Works in a thread of its own, and keeps eight bytes a chunk, some hundred a node, and the indexes of
one record beside those that were moved.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from checkpoints.chunk_source import ChunkSource
from checkpoints.collecting.marks import Marks
from checkpoints.collecting.walk import Marker, Walk
from checkpoints.format import names
from checkpoints.storage.failures import NotThereError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from checkpoints.collecting.interruptible import Interruptible
    from checkpoints.collecting.listing import ListedPack
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace, Index, PackFacts
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository


class Marking(Marker):
    """Marks what records need. One record at a time."""

    def __init__(
        self,
        repository: Repository,
        packs: Mapping[PackId, ListedPack] | None,
        moved: Mapping[str, Index],
        thread: Interruptible,
        damaged: Mapping[PackId, Collection[ChunkId]] | None = None,
    ) -> None:
        """`packs` are those that are there, `moved` the moved indexes by name, latest first.

        Without `packs` nobody is asked what is there: each place where a chunk may be counts.
        `damaged` are packs with a mark, and which chunks it says can't be read.
        """
        super().__init__(thread)
        self.marks = Marks()
        self.needed_indexes: set[str] = set()
        """Names of indexes that a record names, or through which a chunk was found."""
        self.salvageable: dict[PackId, dict[ChunkId, ChunkPlace]] = {}
        """What is needed of packs with a mark, and may be whole."""
        self._repository = repository
        self._packs = packs
        self._unlisted: dict[PackId, int] = {}
        self._moved = moved
        self._damaged = {} if damaged is None else damaged
        self._loaded: Mapping[Place, Index] = {}

    async def mark(self, record: Record) -> str:
        """Mark all that a record needs; return what is wrong with it, or "".

        Raises NotThereError if it is gone by now, DamagedObjectError if an index can't be read.
        """
        indexes = await self._indexes_of(record)
        self.needed_indexes |= {names.index(place) for place in indexes}
        moved = tuple(self._moved.values())
        source = ChunkSource(
            self._repository.storage, tuple(indexes.values()), self._repository.moved, moved
        )
        walk = Walk(self, record, tuple(indexes.values()), source)
        await self.thread.run(walk.run)
        if walk.problem:
            await self._repository.storage.size(names.record(record.place))  # or it is gone
        return walk.problem

    async def _indexes_of(self, record: Record) -> Mapping[Place, Index]:
        """Return a record's indexes. Generations of one checkpoint share most of them."""
        new = tuple(field for field in record.indexes if field.place not in self._loaded)
        loaded = await self._repository.indexes(msgspec.structs.replace(record, indexes=new))
        known = {**self._loaded, **loaded}
        self._loaded = {field.place: known[field.place] for field in record.indexes}
        return self._loaded

    # ── In the thread ────────────────────────────────────────────────────────

    def mark_chunks(self, chunks: Sequence[ChunkId], indexes: Sequence[Index]) -> ChunkId | None:
        """Mark chunks where a reader looks for them first; return one that is nowhere, if any is.

        Comes by every chunk of every generation, so it calls as little as it can.
        """
        places = [*self._moved.items(), *(("", index) for index in indexes)]
        add, is_there, is_enough = self.marks.add, self._is_there, self._packs is not None
        damaged = self._damaged
        lost = None
        for chunk in chunks:
            is_found = is_doubtful = False
            for key, index in places:
                place = index.find(chunk)
                if place is None or not is_there(place):
                    continue
                if damaged and place.pack.pack_id in damaged:
                    is_doubtful = True
                    continue
                add(place)
                is_found = True
                if key:
                    self.needed_indexes.add(key)
                if is_enough:
                    break
            if not is_found and not (is_doubtful and self._mark_doubtful(chunk, places)):
                lost = lost or chunk
        return lost

    def _mark_doubtful(self, chunk: ChunkId, places: Sequence[tuple[str, Index]]) -> bool:
        """Mark a chunk that is nowhere but in packs with a mark; say whether it may be whole.

        If it can't be had from any of them, what is there of it stays with its record all the same.
        """
        bad = []
        for key, index in places:
            place = index.find(chunk)
            if place is None or not self._is_there(place):
                continue
            if chunk not in self._damaged[place.pack.pack_id]:
                self._salvage(key, chunk, place)
                return True
            bad.append((key, place))
        for key, place in bad:
            self._use(key, place)
        return False

    def _salvage(self, key: str, chunk: ChunkId, place: ChunkPlace) -> None:
        self.salvageable.setdefault(place.pack.pack_id, {})[chunk] = place
        self._use(key, place)

    def _use(self, key: str, place: ChunkPlace) -> None:
        self.marks.add(place)
        if key:
            self.needed_indexes.add(key)

    def mark_everything(self, indexes: Sequence[Index]) -> None:
        """Mark all chunks of some indexes, wherever they are."""
        for chunk, place in chain.from_iterable(index.items() for index in indexes):
            self._mark_anyway("", chunk, place)
            for key, index in self._moved.items():
                if (moved := index.find(chunk)) is not None:
                    self._mark_anyway(key, chunk, moved)

    def _mark_anyway(self, key: str, chunk: ChunkId, place: ChunkPlace) -> None:
        if not self._is_there(place):
            return
        if chunk in self._damaged.get(place.pack.pack_id, (chunk,)):
            self._use(key, place)
        else:
            self._salvage(key, chunk, place)

    def _is_there(self, place: ChunkPlace) -> bool:
        """Say whether a pack is there. One that wasn't listed may be younger than the listing."""
        pack = place.pack
        if self._packs is None:
            return True
        listed = self._packs.get(pack.pack_id)
        if listed is not None:
            return listed.object_bytes == pack.object_bytes and listed.kind is pack.kind
        if pack.pack_id not in self._unlisted:
            self._unlisted[pack.pack_id] = self.wait_for(self._size(pack))
        return self._unlisted[pack.pack_id] == pack.object_bytes

    async def _size(self, pack: PackFacts) -> int:
        try:
            return await self._repository.storage.size(names.pack(pack.kind, pack.pack_id))
        except NotThereError:
            return -1
