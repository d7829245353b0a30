"""Handlers: what edges need: logins, renewals, presence, and the feed of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.edge_messages import (
    FEED_HEARTBEAT_SECONDS,
    FeedLine,
    PresenceReport,
    RedeemRequest,
    RenewRequest,
    TokenReply,
)
from common.wire import encode
from control_plane.errors import RefusedError, UnavailableError
from control_plane.events import Change, ChangeKind, EventBus, Resync

if TYPE_CHECKING:
    from aiohttp import web

    from common.ids import SessionId
    from common.tokens import EdgeClaims
    from control_plane.api.presence import Presence
    from control_plane.api.route import Call, Parameters
    from control_plane.api.streams import Streams
    from control_plane.login.connect_tokens import ConnectTokens
    from control_plane.service import StudioService


@dataclass(frozen=True, slots=True)
class EdgeHandlers:
    """Each takes a checked call."""

    service: StudioService
    connect_tokens: ConnectTokens
    presence: Presence
    bus: EventBus
    streams: Streams

    async def redeem_code(self, call: Call[EdgeClaims, Parameters, RedeemRequest]) -> TokenReply:
        token = await self.connect_tokens.redeem(call.body.code, call.body.host)
        return TokenReply(token=token)

    async def renew_token(self, call: Call[EdgeClaims, Parameters, RenewRequest]) -> TokenReply:
        return TokenReply(token=await self.connect_tokens.renew(call.body.token))

    async def report_presence(self, call: Call[EdgeClaims, Parameters, PresenceReport]) -> None:
        if call.body.edge_id != call.who.edge:
            raise RefusedError(f"This token is the edge {call.who.edge}'s own: report as it.")
        for session_id in self.presence.report(call.body):
            self.bus.publish(Change(ChangeKind.CHANGED, session_id))

    async def stream_feed(self, call: Call[EdgeClaims, Parameters, None]) -> web.StreamResponse:
        """Every session and `complete`, then each change; empty lines in between."""
        if self.streams.is_full:
            raise UnavailableError("Too many streams are open: try again later.")
        return await self.streams.run(
            call.request,
            "application/x-ndjson",
            _Feed(self.service, self.bus).write,
            heartbeat=b"\n",
            heartbeat_seconds=FEED_HEARTBEAT_SECONDS,
        )


class _Feed:
    """One edge's copy of the sessions: knows what the edge was told."""

    def __init__(self, service: StudioService, bus: EventBus) -> None:
        self._service = service
        self._bus = bus
        self._told: set[SessionId] = set()

    async def write(self, response: web.StreamResponse) -> None:
        # subscribe first: a change between reading and subscribing would be lost
        async with self._bus.subscribe() as changes:
            await self._write_all(response)
            async for change in changes:
                match change:
                    case Change(session_id=session_id) if session_id is not None:
                        await self._write_one(response, session_id)
                    case Change() | Resync():
                        await self._write_all(response)

    async def _write_all(self, response: web.StreamResponse) -> None:
        sessions = await self._service.edge_sessions()
        now = {session.session_id for session in sessions}
        lines = [FeedLine(removed=session_id) for session_id in sorted(self._told - now)]
        lines += [FeedLine(session=session) for session in sessions]
        lines.append(FeedLine(complete=True))
        self._told = now
        await response.write(b"".join(encode(line) + b"\n" for line in lines))

    async def _write_one(self, response: web.StreamResponse, session_id: SessionId) -> None:
        session = await self._service.edge_session(session_id)
        if session is not None:
            self._told.add(session_id)
            line = FeedLine(session=session)
        else:
            self._told.discard(session_id)
            line = FeedLine(removed=session_id)
        await response.write(encode(line) + b"\n")
