"""What a verification found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.format.names import Place
    from checkpoints.reading.reach import Loss


@dataclass(frozen=True, slots=True)
class Damage:
    """An object that isn't what was written."""

    key: str
    what: str


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
    foreign: list[str] = field(default_factory=list)
    """Names that aren't ours: nobody reads or deletes them."""

    @property
    def is_sound(self) -> bool:
        return not self.damages and not self.losses
