"""Who is connected to which session, as the edges say; kept in memory only.

Every edge sends all it has, every 30 s and on change, so a control plane that restarts knows
everything again within half a minute, and an edge that is gone takes its people with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.clock import Clock
    from common.edge_messages import Connection, PresenceReport
    from common.ids import SessionId

SILENCE_SECONDS = 90.0
"""Three reports missed."""


@dataclass(frozen=True, slots=True)
class _Heard:
    at: float
    connections: tuple[Connection, ...]


class Presence:
    """The newest report of every edge."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._edges: dict[str, _Heard] = {}

    def report(self, report: PresenceReport) -> frozenset[SessionId]:
        """Take an edge's report; returns the sessions where people came or went."""
        before = self._edges.get(report.edge_id)
        self._edges[report.edge_id] = _Heard(self._clock.monotonic(), report.connections)
        old = _people(before.connections if before else ())
        return frozenset(session_id for session_id, _ in old ^ _people(report.connections))

    def expire(self) -> frozenset[SessionId]:
        """Forget edges that have fallen silent; returns the sessions concerned."""
        silent = [edge_id for edge_id, heard in self._edges.items() if self._is_silent(heard)]
        gone: set[SessionId] = set()
        for edge_id in silent:
            gone |= {c.session_id for c in self._edges.pop(edge_id).connections}
        return frozenset(gone)

    def of(self, session_id: SessionId) -> list[Connection]:
        """Return who is connected to a session, one entry a person, longest there first."""
        newest: dict[int, Connection] = {}
        for heard in self._edges.values():
            for connection in heard.connections:
                if connection.session_id != session_id or self._is_silent(heard):
                    continue
                known = newest.get(connection.user_id)
                if known is None or known.last_active < connection.last_active:
                    newest[connection.user_id] = connection
        return sorted(newest.values(), key=lambda connection: connection.since)

    def _is_silent(self, heard: _Heard) -> bool:
        return self._clock.monotonic() - heard.at >= SILENCE_SECONDS


def _people(connections: tuple[Connection, ...]) -> frozenset[tuple[SessionId, int]]:
    return frozenset((c.session_id, c.user_id) for c in connections)
