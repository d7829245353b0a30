"""The indexes that a checkpoint's next record will name.

Each generation adds one of what it stored. A record names at most 16, so the smallest are merged
into the new one now and then; and so are those that list packs which are on their way out.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.ids import Generation
from checkpoints.format.index import Index, IndexBuilder, name_of, named
from checkpoints.format.names import Place
from checkpoints.format.record import INDEXES_MAX
from checkpoints.storage.failures import AlreadyThereError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace
    from checkpoints.storage.storage import Storage
    from checkpoints.writing.pack_writer import ClosedPack

MERGED_TO = INDEXES_MAX // 2
"""When there are too many indexes, the smallest become one, until so many are left: then there is
room for as many generations again, and each chunk is copied a few times in all."""
NAMES_TRIED_MAX = 100


@dataclass(frozen=True, slots=True)
class Indexes:
    """Those of one generation, in the order that readers look into them."""

    found: Mapping[Place, Index]
    forgotten: frozenset[PackId] = frozenset()
    """Packs that are in some of them, and will be in none of the next generation's."""
    lost: frozenset[Place] = frozenset()
    """Those that were deleted, so the next generation's own has to have all of them."""

    @property
    def places(self) -> tuple[Place, ...]:
        return tuple(self.found)

    @property
    def all(self) -> tuple[Index, ...]:
        return tuple(self.found.values())

    def without(self, packs: Collection[PackId]) -> Indexes:
        """Return the same, to list these packs no more from the next generation on."""
        return Indexes(self.found, self.forgotten | frozenset(packs), self.lost)

    def with_lost(self, place: Place) -> Indexes:
        """Return the same, to store what one of them has again."""
        return Indexes(self.found, self.forgotten, self.lost | {place})

    def to_merge(self) -> list[Place]:
        """Return which go into the next generation's own."""
        listing = {
            place
            for place, index in self.found.items()
            if place in self.lost or any(pack.pack_id in self.forgotten for pack in index.packs)
        }
        left = [place for place in self.found if place not in listing]
        if len(left) >= INDEXES_MAX:
            by_size = sorted(left, key=lambda place: len(self.found[place]))
            listing |= set(by_size[: len(left) - MERGED_TO + 1])
        return [place for place in self.found if place in listing]

    async def stored(
        self,
        storage: Storage,
        place: Place,
        packs: Sequence[ClosedPack],
        reused: Mapping[ChunkId, ChunkPlace],
    ) -> Indexes:
        """Store an index of what is new, and return all that the next record needs.

        Its name is the generation's, or the next that is free. Raises StorageError, DamagedError.
        """
        merged = self.to_merge()
        if not packs and not reused and not merged:
            return self
        data, index = await asyncio.to_thread(self._built, packs, reused, merged)
        stored = await _put(storage, place, data)
        kept = {old: found for old, found in self.found.items() if old not in set(merged)}
        return Indexes({stored: index, **kept})

    def _built(
        self,
        packs: Sequence[ClosedPack],
        reused: Mapping[ChunkId, ChunkPlace],
        merged: Sequence[Place],
    ) -> tuple[bytes, Index]:
        builder = IndexBuilder()
        for pack in packs:
            builder.add_table(pack.facts, pack.table)
        for chunk, where in reused.items():
            builder.add(chunk, where)
        for old in merged:
            builder.add_index(self.found[old], without=self.forgotten)
        data = builder.finish()
        return data, Index(data)


async def _put(storage: Storage, first: Place, data: bytes) -> Place:
    for number in range(first.generation, first.generation + NAMES_TRIED_MAX):
        place = Place(first.checkpoint_id, Generation(number))
        try:
            await storage.put_new(names.index(place), named(data, name_of(place)))
        except AlreadyThereError:
            continue  # of a writer that stopped before its record
        return place
    raise AssertionError(f"the names of {NAMES_TRIED_MAX} indexes from {first} on are taken")
