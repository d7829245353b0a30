"""Who is connected to which session, and the end of connections whose right has ended.

A person is connected while a WebSocket of theirs is open or a request in progress, and for a
minute after. The control plane hears of it every 30 s and whenever somebody comes or goes.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from common.edge_messages import Connection, EdgeSession, PresenceReport
from connect_proxy.control_plane import ControlPlaneUnavailableError, TokenRefusedError

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from common.clock import Clock
    from common.http1.relay import Downstream
    from common.ids import SessionId
    from connect_proxy.control_plane import ControlPlane
    from connect_proxy.grants import Grant, Grants

_log = structlog.get_logger()
_REPORT_SECONDS = 30.0
_COALESCE_SECONDS = 1.0
_ASK_AGAIN_SECONDS = 1.0
_PRESENT_SECONDS = 60.0
_PEOPLE_MAX = 10_000


@dataclass(slots=True)
class Visit:
    """One person at one session through this edge."""

    session_id: SessionId
    user_id: int
    host: str
    token: str
    since: datetime
    last_active: datetime
    websockets: set[asyncio.Transport] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class PersonalCall:
    """A call of the agent's own endpoints with a person's token, such as a log that is followed."""

    session_id: SessionId


class Presence:
    """All visits at this edge."""

    def __init__(
        self,
        *,
        edge_id: str,
        control_plane: ControlPlane,
        grants: Grants,
        connections: Collection[Downstream],
        clock: Clock,
    ) -> None:
        """`connections` are those that carry requests; `context` names the visit of each."""
        self._edge_id = edge_id
        self._control_plane = control_plane
        self._grants = grants
        self._connections = connections
        self._clock = clock
        self._visits: dict[tuple[SessionId, int], Visit] = {}
        self._calls: dict[PersonalCall, set[asyncio.Transport]] = {}
        """Clients' ends of those personal calls that have become WebSockets."""
        self._changed = asyncio.Event()

    @property
    def websockets(self) -> int:
        visits = sum(len(visit.websockets) for visit in self._visits.values())
        return visits + sum(map(len, self._calls.values()))

    @property
    def people(self) -> int:
        return len(self._visits)

    def seen(self, session_id: SessionId, host: str, grant: Grant) -> Visit | None:
        """Note a request; returns the person's visit, None when there are too many people."""
        key = session_id, grant.claims.sub
        visit = self._visits.get(key)
        now = self._clock.now()
        if visit is None:
            if len(self._visits) >= _PEOPLE_MAX:
                return None
            visit = Visit(session_id, grant.claims.sub, host, grant.token, now, now)
            self._visits[key] = visit
            self._changed.set()
        visit.last_active = now
        visit.token = grant.token
        return visit

    def call_joined(self, call: PersonalCall, client: asyncio.Transport) -> None:
        """Note that a personal call has become a WebSocket: a command in the session."""
        self._calls.setdefault(call, set()).add(client)

    def call_left(self, call: PersonalCall, client: asyncio.Transport) -> None:
        transports = self._calls[call]
        transports.discard(client)
        if not transports:
            del self._calls[call]

    def sweep(self, now: float) -> None:
        """Forget people who left."""
        del now
        today = self._clock.now()
        gone = [
            (key, visit)
            for key, visit in self._visits.items()
            if (today - visit.last_active).total_seconds() > _PRESENT_SECONDS
        ]
        for key, visit in gone:
            if not visit.websockets and not self._in_progress(visit):
                del self._visits[key]
                self._changed.set()

    async def report_forever(self) -> None:
        """Tell the control plane, until cancelled."""
        while True:
            self._changed.clear()
            report = PresenceReport(
                edge_id=self._edge_id,
                connections=tuple(
                    Connection(
                        session_id=visit.session_id,
                        user_id=visit.user_id,
                        since=visit.since,
                        last_active=visit.last_active,
                    )
                    for visit in self._visits.values()
                ),
            )
            try:
                await self._control_plane.report_presence(report)
            except (ControlPlaneUnavailableError, TokenRefusedError) as error:
                _log.info("presence_not_reported", reason=str(error))
            await self._renew_aged()
            await self._clock.sleep(_COALESCE_SECONDS)
            await self._pause()

    async def _renew_aged(self) -> None:
        """Renew tokens of people who stay without new requests, so that they can be rechecked."""
        for visit in list(self._visits.values()):
            grant = self._grants.find((visit.token,), visit.host)
            if grant is None or self._grants.now() < grant.renew_at:
                continue
            if not visit.websockets and not self._in_progress(visit):
                continue
            try:
                visit.token = await self._control_plane.renew(visit.token)
            except ControlPlaneUnavailableError as error:
                _log.info("token_not_renewed", session=visit.session_id, reason=str(error))
            except TokenRefusedError:
                self._end(visit)

    async def _pause(self) -> None:
        """Return at the next change, or when the next regular report is due."""
        async with asyncio.TaskGroup() as group:
            waits = [
                group.create_task(self._changed.wait()),
                group.create_task(self._clock.sleep(_REPORT_SECONDS)),
            ]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()

    async def recheck(self, session: EdgeSession) -> None:
        """Ask again about everybody who is being served; end those who may not stay.

        Personal calls end in any case: nobody can be asked about their tokens.
        """
        self._end_calls(session.session_id)
        for visit in [v for v in self._visits.values() if v.session_id == session.session_id]:
            if not visit.websockets and not self._in_progress(visit):
                continue
            if not await self._may_stay(visit):
                self._end(visit)

    def _end_calls(self, session_id: SessionId) -> None:
        call = PersonalCall(session_id)
        for connection in [c for c in self._connections if c.context == call and not c.resting]:
            connection.transport.abort()
        for transport in list(self._calls.get(call, ())):
            transport.abort()

    def _in_progress(self, visit: Visit) -> list[Downstream]:
        return [c for c in self._connections if c.context is visit and not c.resting]

    def _end(self, visit: Visit) -> None:
        transports = [*visit.websockets, *(c.transport for c in self._in_progress(visit))]
        _log.info(
            "access_ended", session=visit.session_id, user=visit.user_id, closed=len(transports)
        )
        for transport in transports:
            transport.abort()

    async def _may_stay(self, visit: Visit) -> bool:
        """Ask until there is an answer: the right was changed, nobody may keep it by an outage."""
        while True:
            try:
                visit.token = await self._control_plane.renew(visit.token)
            except TokenRefusedError:
                return False
            except ControlPlaneUnavailableError:
                await self._clock.sleep(_ASK_AGAIN_SECONDS)
                continue
            grant = self._grants.check(visit.token, visit.host)
            return grant is not None and not grant.claims.refused

    def close(self) -> None:
        """Close the joined WebSockets: the edge ends."""
        for visit in self._visits.values():
            for transport in list(visit.websockets):
                transport.close()
        for transports in self._calls.values():
            for transport in list(transports):
                transport.close()

    def end_session(self, session_id: SessionId) -> None:
        """End whatever is in progress at a session that is gone."""
        self._end_calls(session_id)
        for visit in self._visits.values():
            if visit.session_id == session_id:
                self._end(visit)
