"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format import names

if TYPE_CHECKING:
    from checkpoints.format.ids import CheckpointId, ChunkId, PackId
    from checkpoints.format.names import Place
    from checkpoints.format.pack import PackKind
    from checkpoints.reading.reach import Loss


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that isn't what was written."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class BadPack:
    """A pack that isn't what was written, or is missing."""

    kind: PackKind
    chunks: frozenset[ChunkId]
    """Those that can't be read; none of one that is missing."""


@dataclass(frozen=True, slots=True)
class Losses:
    """What a generation can't give back."""

    place: Place
    named: tuple[Loss, ...]
    count: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a verification is."""

    packs: int
    packs_total: int
    records: int
    records_total: int


@dataclass(slots=True)
class Verified:
    """What was found."""

    packs: int = 0
    packs_read: int = 0
    bytes_read: int = 0
    chunks_read: int = 0
    generations: int = 0
    damages: list[Damage] = field(default_factory=list)
    """By object, each once."""
    losses: list[Losses] = field(default_factory=list)
    bad_packs: dict[PackId, BadPack] = field(default_factory=dict)
    marked: set[PackId] = field(default_factory=set)
    """Packs that have a mark: nobody relies on them any more."""
    without_records: list[CheckpointId] = field(default_factory=list)
    """Checkpoints that have an index and no record of any kind: somebody writes to them for the
    first time, or their records were deleted behind everybody's back."""
    foreign: list[str] = field(default_factory=list)
    """Names that aren't ours: nobody reads or deletes them."""

    @property
    def is_sound(self) -> bool:
        return not self.damages and not self.losses

    @property
    def is_repairable(self) -> bool:
        """Whether a repair may have something to do."""
        return bool(
            self.losses
            or self.bad_packs.keys() - self.marked
            or any(
                names.parse_index(damage.key) or names.parse_moved(damage.key)
                for damage in self.damages
            )
        )
