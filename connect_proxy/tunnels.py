"""Tunnel connections by session, and the lane that requests travel to a session."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from common.http1.lane import LaneUnavailableError
from connect_proxy.parked import SILENT_SECONDS_MAX, ParkedConnection
from connect_proxy.parking import Parking

if TYPE_CHECKING:
    from collections.abc import Iterator

    from common.http1.upstream import Upstream
    from common.ids import RunNumber, SessionId

WAIT_SECONDS_MAX = 5.0
_WAITING_MAX = 256
_SURPLUS = 4
"""Parked connections kept beyond what is wanted, against to and fro."""
_SURPLUS_SECONDS = 10.0
_UNUSED_SECONDS = 60.0
"""After that a session without an agent is forgotten; longer than any request waits."""
_TRIMMED_PER_SWEEP = 8
CONNECTIONS_MAX = 1024
"""Tunnel connections of one session, parked and busy: what a room full of people can use, and what
a mad agent can't exceed."""


class SessionTunnels:
    """The connections of one session's agent. A `Lane`; only the highest run's are kept."""

    def __init__(self) -> None:
        self.run = 0
        self._parking = Parking()
        self._idle: list[ParkedConnection] = []
        self._open: set[ParkedConnection] = set()
        self._waiting: deque[asyncio.Future[ParkedConnection]] = deque()
        self._announced = self._parking.wanted
        self._draining = False
        self.unused_since = 0.0
        """The loop's time since when there was neither connection nor request; 0 while there is."""

    @property
    def wanted(self) -> int:
        return self._parking.wanted

    @property
    def parked(self) -> int:
        return len(self._idle)

    @property
    def open(self) -> int:
        return len(self._open)

    @property
    def full(self) -> bool:
        return len(self._open) >= CONNECTIONS_MAX

    def admit(self, run: RunNumber) -> bool:
        """Say whether connections of `run` are taken; a newer run ends the older's parked ones."""
        if run < self.run:
            return False
        if run > self.run:
            self.run = run
            idle, self._idle = self._idle, []
            for connection in idle:
                connection.abandon()
                self.lost(connection)
        return True

    def park(self, connection: ParkedConnection) -> None:
        self._open.add(connection)
        self.give_back(connection)

    # ── the lane ─────────────────────────────────────────────────────────────

    def take(self) -> ParkedConnection | None:
        # Last in, first out: the warm ones stay busy and the agent can let the others go.
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
        return None

    async def wait(self) -> ParkedConnection:
        connection = self.take()
        if connection is not None:
            return connection
        if len(self._waiting) >= _WAITING_MAX:
            raise LaneUnavailableError(503, "Too many requests wait for this session already.")
        loop = asyncio.get_running_loop()
        if self._parking.request_waited(loop.time()):
            self._announce()
        try:
            async with asyncio.timeout(WAIT_SECONDS_MAX):
                while True:
                    connection = await self._next_parked()
                    if connection.usable:  # it may have gone since it was handed over
                        return connection
        except TimeoutError:
            raise LaneUnavailableError(
                503, "The session's agent is not connected to this edge at the moment."
            ) from None

    async def _next_parked(self) -> ParkedConnection:
        future: asyncio.Future[ParkedConnection] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future in self._waiting:
                self._waiting.remove(future)
            elif not future.cancelled():  # handed over in the instant that the waiter gave up
                self.give_back(future.result())
            raise

    def give_back(self, upstream: Upstream) -> None:
        assert isinstance(upstream, ParkedConnection)
        if upstream.run < self.run or self._draining or not upstream.usable:
            upstream.abandon()
            self.lost(upstream)
            return
        upstream.heard_at = upstream.idle_since = asyncio.get_running_loop().time()
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(upstream)
                return
        self._idle.append(upstream)
        if self._announced != self._parking.wanted:
            self._announce()

    def lost(self, upstream: Upstream) -> None:
        assert isinstance(upstream, ParkedConnection)
        self._open.discard(upstream)
        if upstream in self._idle:
            self._idle.remove(upstream)

    # ── upkeep ───────────────────────────────────────────────────────────────

    def _announce(self) -> None:
        for connection in self._idle:
            if connection.usable:
                self._announced = self._parking.wanted
                connection.tell(b"WANT %d\n" % self._announced)
                return

    def sweep(self, now: float) -> None:
        """Close silent connections and adapt the number wanted; `now` is the loop's time."""
        for connection in [c for c in self._idle if now - c.heard_at > SILENT_SECONDS_MAX]:
            connection.abandon()
            self.lost(connection)
        used = self._open or self._waiting
        self.unused_since = 0.0 if used else self.unused_since or now
        if self._parking.quiet(now):
            self._announce()
        self._trim(now)

    def _trim(self, now: float) -> None:
        """Close what a burst left over; only this end knows that no request is under way on it."""
        surplus = len(self._idle) - self._parking.wanted - _SURPLUS
        for connection in self._idle[: max(0, min(surplus, _TRIMMED_PER_SWEEP))]:
            if now - connection.idle_since > _SURPLUS_SECONDS:
                connection.abandon()
                self.lost(connection)

    def drain(self) -> None:
        """Tell the agent to go elsewhere; connections in use end with their exchange."""
        self._draining = True
        idle, self._idle = self._idle, []
        for connection in idle:
            if connection.usable:
                connection.tell(b"DRAIN\n")

    def close(self) -> None:
        for connection in list(self._open):
            connection.transport.abort()


class Tunnels:
    """All sessions' tunnels at this edge."""

    def __init__(self) -> None:
        self._sessions: dict[SessionId, SessionTunnels] = {}

    def of(self, session_id: SessionId) -> SessionTunnels:
        tunnels = self._sessions.get(session_id)
        if tunnels is None:
            tunnels = self._sessions[session_id] = SessionTunnels()
        return tunnels

    def has(self, session_id: SessionId) -> bool:
        tunnels = self._sessions.get(session_id)
        return tunnels is not None and tunnels.open > 0

    def forget(self, session_id: SessionId) -> None:
        """Close and drop the tunnels of a session that was deleted."""
        tunnels = self._sessions.pop(session_id, None)
        if tunnels is not None:
            tunnels.close()

    def __iter__(self) -> Iterator[SessionTunnels]:
        return iter(self._sessions.values())

    def sweep(self, now: float) -> None:
        for session_id, tunnels in list(self._sessions.items()):
            tunnels.sweep(now)
            if tunnels.unused_since and now - tunnels.unused_since > _UNUSED_SECONDS:
                del self._sessions[session_id]

    def drain(self) -> None:
        for tunnels in self._sessions.values():
            tunnels.drain()

    def close(self) -> None:
        for tunnels in self._sessions.values():
            tunnels.close()
