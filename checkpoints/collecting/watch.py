"""How long something has taken at most: of two clocks, the one that went further."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.clock import Clock


class Watch:
    """Begins when it is made. A monotonic clock stands still while its machine sleeps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now()
        self._began_seconds = clock.monotonic()

    def at_most(self) -> timedelta:
        """Return no less than has passed, unless the calendar was set back meanwhile."""
        seconds = self._clock.monotonic() - self._began_seconds
        return max(timedelta(seconds=seconds), self._clock.now() - self._began)

    def at_least(self) -> timedelta:
        """Return no more than has passed: whoever sets the calendar doesn't make it longer."""
        return timedelta(seconds=self._clock.monotonic() - self._began_seconds)
