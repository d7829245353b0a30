"""What a repair did, or would do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.reading.verified import Verified


@dataclass(slots=True, kw_only=True)
class Repaired:
    """Objects by name."""

    verified: Verified
    """What was found before."""
    marked: list[str] = field(default_factory=list)
    """Packs that nobody relies on from now on."""
    rebuilt: dict[str, int] = field(default_factory=dict)
    """Indexes that are whole again, and how many chunks they have."""
    hopeless: list[str] = field(default_factory=list)
    """Indexes of which nothing is left: their generations are lost."""
    found_chunks: int = 0
    """That a new `index/moved` makes known."""
    removed: list[str] = field(default_factory=list)
    """Damaged `index/moved`."""
    withheld_chunks: int = 0
    """That are there, but in packs that a session may delete."""

    @property
    def has_work(self) -> bool:
        """Whether there was anything to do."""
        return bool(self.marked or self.rebuilt or self.found_chunks or self.removed)
