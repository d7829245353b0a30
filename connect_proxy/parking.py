"""How many tunnel connections to ask an agent for. Pure.

An agent opens a new connection for each one that turns busy, so a steady load never waits. A burst
does; then twice as many are wanted, until a minute passes without a wait.
"""

from __future__ import annotations

PARKED_MIN = 2
PARKED_MAX = 64
QUIET_SECONDS = 60.0
_BURST_SECONDS = 0.05


class Parking:
    """The number wanted for one session, and when a request last waited (or it was halved)."""

    __slots__ = ("_waited_at", "wanted")

    def __init__(self) -> None:
        self.wanted = PARKED_MIN
        self._waited_at = -QUIET_SECONDS

    def request_waited(self, now: float) -> bool:
        """A request found nothing parked; return whether more are wanted than before.

        All requests of one burst wait at once; they count as one reason to double, because the
        agent hasn't had time to follow yet.
        """
        if now - self._waited_at < _BURST_SECONDS:
            return False
        self._waited_at = now
        before, self.wanted = self.wanted, min(PARKED_MAX, self.wanted * 2)
        return self.wanted > before

    def quiet(self, now: float) -> bool:
        """Time passed; return whether fewer are wanted than before."""
        if self.wanted <= PARKED_MIN or now - self._waited_at < QUIET_SECONDS:
            return False
        self.wanted = max(PARKED_MIN, self.wanted // 2)
        self._waited_at = now
        return True
