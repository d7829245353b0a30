"""The edge's copy of what sessions exist, kept up to date by the control plane's feed.

While the feed is away the copy stays as it was: sessions are served all along. After it returns,
the feed sends everything and then `complete`; what it didn't mention by then is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from common.edge_messages import EdgeSession, FeedLine
    from common.ids import SessionId


class SessionDirectory:
    """Sessions by id. `known` is false until a first feed was complete."""

    def __init__(
        self,
        *,
        access_changed: Callable[[EdgeSession], None],
        removed: Callable[[SessionId], None],
    ) -> None:
        """`access_changed` hears of a new access version, `removed` of a deleted session."""
        self.known = False
        self._sessions: dict[SessionId, EdgeSession] = {}
        self._mentioned: set[SessionId] = set()
        self._access_changed = access_changed
        self._removed = removed

    def get(self, session_id: SessionId) -> EdgeSession | None:
        return self._sessions.get(session_id)

    def begin(self) -> None:
        """A new feed starts over."""
        self._mentioned = set()

    def apply(self, line: FeedLine) -> None:
        if line.session is not None:
            self._put(line.session)
        if line.removed is not None:
            self._remove(line.removed)
        if line.complete:
            self.known = True
            for session_id in self._sessions.keys() - self._mentioned:
                self._remove(session_id)

    def _put(self, session: EdgeSession) -> None:
        before = self._sessions.get(session.session_id)
        self._sessions[session.session_id] = session
        self._mentioned.add(session.session_id)
        if before is not None and before.access_version != session.access_version:
            self._access_changed(session)

    def _remove(self, session_id: SessionId) -> None:
        if self._sessions.pop(session_id, None) is not None:
            self._removed(session_id)
