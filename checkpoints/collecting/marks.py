"""Which stretches of which packs are needed: eight bytes a chunk. Pure.

Chunks are added as often as they are met; what was added twice goes when a pack's list has doubled.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from checkpoints.format.ids import PackId
    from checkpoints.format.index import ChunkPlace

_CODEC_BITS = 8
_LENGTH_BITS = 24
"""Of stored bytes. An offset has 25 of the 64 bits at most: a pack is never twice 16 MiB."""
_SHORT = 256
"""Lists so short aren't worth looking through."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A chunk in a pack that somebody needs."""

    offset: int
    stored_bytes: int
    codec: int


class Marks:
    """What is needed of each pack. For one thread at a time."""

    def __init__(self) -> None:
        self._packs: dict[PackId, array[int]] = {}
        self._looked_through: dict[PackId, int] = {}

    def add(self, place: ChunkPlace) -> None:
        """Say that the chunk at this place is needed."""
        pack_id = place.pack.pack_id
        rows = self._packs.get(pack_id)
        if rows is None:
            rows = self._packs[pack_id] = array("Q")
        rows.append(
            (place.offset << _LENGTH_BITS | place.stored_bytes) << _CODEC_BITS | place.codec
        )
        if len(rows) > _SHORT and len(rows) > 2 * self._looked_through.get(pack_id, 0):
            rows = self._packs[pack_id] = array("Q", set(rows))
            self._looked_through[pack_id] = len(rows)

    @property
    def packs(self) -> Collection[PackId]:
        """All of which anything is needed."""
        return self._packs.keys()

    def stretches(self, pack_id: PackId) -> Sequence[Stretch]:
        """Return what is needed of a pack, ascending by offset."""
        return [
            Stretch(
                row >> _CODEC_BITS + _LENGTH_BITS,
                row >> _CODEC_BITS & (1 << _LENGTH_BITS) - 1,
                row & (1 << _CODEC_BITS) - 1,
            )
            for row in sorted(set(self._packs.get(pack_id, ())))
        ]

    def stored_bytes(self, pack_id: PackId) -> int:
        """Return how many bytes of a pack are needed."""
        rows = set(self._packs.get(pack_id, ()))
        return sum([row >> _CODEC_BITS & (1 << _LENGTH_BITS) - 1 for row in rows])
