"""When the next capture is due. Pure: what happened in, how long to wait out."""

from __future__ import annotations

from dataclasses import dataclass, replace

RETRY_SECONDS_MIN = 10.0
"""After the first failure; twice as long after each further one, up to the interval."""
RETRY_SECONDS_MAX = 300.0
"""Also where the interval is longer: a store that is back should soon have what was missed."""
_DOUBLINGS_MAX = 10


@dataclass(frozen=True, slots=True)
class Schedule:
    """Times are those of the monotonic clock, in seconds."""

    begun_at: float
    """When the last capture began, or the run."""
    ended_at: float
    """When it ended."""
    failures: int = 0
    """In a row."""
    is_requested: bool = False
    """Somebody wants the files saved as they are now."""

    def due_in(self, now: float, *, interval_seconds: float) -> float:
        """Return how many seconds are left; 0 if it is time.

        Captures begin at the pace of the interval, and none begins before the one before is over;
        what fails is tried again sooner than that.
        """
        if self.is_requested:
            return 0.0
        if self.failures:
            return max(0.0, self.ended_at + self.retry_seconds(interval_seconds) - now)
        return max(0.0, self.begun_at + interval_seconds - now)

    def retry_seconds(self, interval_seconds: float) -> float:
        doubled = RETRY_SECONDS_MIN * 2.0 ** min(max(self.failures - 1, 0), _DOUBLINGS_MAX)
        return min(doubled, interval_seconds, RETRY_SECONDS_MAX)

    def requested(self) -> Schedule:
        return replace(self, is_requested=True)

    def begun(self, now: float) -> Schedule:
        """A capture begins: it answers whoever has asked by now."""
        return replace(self, begun_at=now, is_requested=False)

    def succeeded(self, now: float) -> Schedule:
        return replace(self, ended_at=now, failures=0)

    def failed(self, now: float) -> Schedule:
        return replace(self, ended_at=now, failures=self.failures + 1)
