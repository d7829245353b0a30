"""How far something long is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Sums since the beginning; what they will be in the end, the record says."""

    entries: int
    """Names that were dealt with."""
    file_bytes: int
    """Of the content of files."""
