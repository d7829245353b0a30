"""How long to wait before the next try of something that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Backoff:
    """Doubling waits with jitter, so that a thousand agents don't come back in the same instant."""

    def __init__(self, *, first_seconds: float, seconds_max: float, rng: random.Random) -> None:
        self._first = first_seconds
        self._max = seconds_max
        self._rng = rng
        self._next = first_seconds

    def reset(self) -> None:
        """Start over; call it after a success."""
        self._next = self._first

    def next_seconds(self) -> float:
        """Return the next wait: between half and all of a step that doubles up to the maximum."""
        step = self._next
        self._next = min(self._max, step * 2)
        return step * self._rng.uniform(0.5, 1.0)
