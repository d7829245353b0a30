"""Why the session counts as used: the newest reason, and how many WebSockets are open.

Who calls `note` decides what counts: the gateway for requests and client data frames, the activity
probe for the tool's own signals. Pings, idle tabs, page views and health polls are not noted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.messages import ActivityStatus

if TYPE_CHECKING:
    from common.clock import Clock


class Activity:
    """One session's activity."""

    def __init__(self, clock: Clock) -> None:
        """Begin with the start itself, so that a restarted session isn't idle since yesterday."""
        self._clock = clock
        self._open_websockets = 0
        self.note("started")

    def note(self, reason: str) -> None:
        """Record that the session is being used now; cheap enough for every frame."""
        self._last_active_at = self._clock.now()
        self._reason = reason

    def websocket_opened(self) -> None:
        self._open_websockets += 1

    def websocket_closed(self) -> None:
        self._open_websockets -= 1
        assert self._open_websockets >= 0, "more WebSockets closed than opened"

    def status(self) -> ActivityStatus:
        return ActivityStatus(
            last_active_at=self._last_active_at,
            reason=self._reason,
            open_websockets=self._open_websockets,
        )
