"""A stand-in for the control plane, as the edge sees it: keys, feed, codes, renewal, presence."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from common.clock import Clock, SystemClock
from common.edge_messages import (
    EdgeSession,
    FeedLine,
    PresenceReport,
    RedeemRequest,
    RenewRequest,
    TokenReply,
)
from common.ids import SessionId
from common.tokens import (
    AGENT_AUDIENCE,
    AgentClaims,
    ConnectClaims,
    StudioClaims,
    TokenSigner,
    connect_audience,
    generate_key,
    studio_audience,
)
from common.wire import decode, encode

if TYPE_CHECKING:
    from pathlib import Path


class Platform:
    """Serves on a unix socket; tests set `sessions` and call `publish`."""

    def __init__(self, folder: Path, domain: str, clock: Clock | None = None) -> None:
        self.path = folder / "platform.sock"
        self.domain = domain
        self.clock = clock or SystemClock()
        self.signer = TokenSigner([generate_key("k1")], self.clock)
        self.sessions: dict[SessionId, EdgeSession] = {}
        self.refused: dict[int, str] = {}
        self.names: dict[int, str] = {}
        self.gone: set[int] = set()
        self.codes: dict[str, tuple[str, int]] = {}
        self.presence: list[PresenceReport] = []
        self.down = False
        self.requests: list[str] = []
        self._followers: set[asyncio.Queue[bytes | None]] = set()
        self._runner: web.AppRunner | None = None

    # ── what tests do ────────────────────────────────────────────────────────

    def add(self, session_id: SessionId, **changes: object) -> EdgeSession:
        fields: dict[str, object] = {
            "session_id": session_id,
            "name": "demo",
            "status": "running",
            "message": "",
            "owner": "ada",
            "run_number": 1,
            "access_version": 1,
        }
        session = EdgeSession(**{**fields, **changes})  # type: ignore[arg-type]
        self.sessions[session_id] = session
        self._send(FeedLine(session=session))
        return session

    def remove(self, session_id: SessionId) -> None:
        del self.sessions[session_id]
        self._send(FeedLine(removed=session_id))

    def host(self, session_id: SessionId) -> str:
        return f"a{session_id}.{self.domain}"

    def agent_token(self, session_id: SessionId, run: int = 1, seconds: float = 3600) -> str:
        now = self.signer.now()
        return self.signer.sign(
            AgentClaims(aud=AGENT_AUDIENCE, iat=now, exp=now + seconds, sid=session_id, run=run)
        )

    def connect_token(
        self, session_id: SessionId, user: int = 7, *, seconds: float = 3600, age: float = 0
    ) -> str:
        now = self.signer.now() - age
        session = self.sessions.get(session_id)
        return self.signer.sign(
            ConnectClaims(
                aud=connect_audience(self.host(session_id)),
                iat=now,
                exp=now + seconds,
                sub=user,
                name=self.names.get(user, f"user{user}"),
                sid=session_id,
                av=session.access_version if session else 0,
                refused=self.refused.get(user, ""),
            )
        )

    def studio_token(self, session_id: SessionId, scope: str, sub: str = "") -> str:
        now = self.signer.now()
        return self.signer.sign(
            StudioClaims(
                aud=studio_audience(session_id),
                iat=now,
                exp=now + 60,
                sid=session_id,
                scope=scope,
                sub=sub,
                jti=secrets.token_hex(8),
            )
        )

    def code(self, session_id: SessionId, user: int = 7) -> str:
        code = f"code{len(self.codes)}"
        self.codes[code] = (session_id, user)
        return code

    async def cut_feeds(self) -> None:
        for follower in self._followers:
            follower.put_nowait(None)

    def _send(self, line: FeedLine) -> None:
        for follower in self._followers:
            follower.put_nowait(encode(line) + b"\n")

    # ── what the edge calls ──────────────────────────────────────────────────

    async def start(self) -> None:
        application = web.Application(middlewares=[self._outage])
        application.router.add_get("/.well-known/jwks.json", self._keys)
        application.router.add_get("/api/edge/v1/feed", self._feed)
        application.router.add_post("/api/edge/v1/redeem", self._redeem)
        application.router.add_post("/api/edge/v1/renew", self._renew)
        application.router.add_put("/api/edge/v1/presence", self._presence)
        application.router.add_route("*", "/{rest:.*}", self._page)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.UnixSite(self._runner, str(self.path)).start()

    async def stop(self) -> None:
        await self.cut_feeds()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _outage(self, request: web.Request, handler: object) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.down:
            return web.Response(status=503)
        assert callable(handler)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _keys(self, _: web.Request) -> web.Response:
        return web.Response(text=self.signer.public_keys())

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        for session in self.sessions.values():
            await response.write(encode(FeedLine(session=session)) + b"\n")
        await response.write(encode(FeedLine(complete=True)) + b"\n")
        self._followers.add(queue)
        try:
            while (line := await queue.get()) is not None:
                await response.write(line)
        finally:
            self._followers.discard(queue)
        return response

    async def _redeem(self, request: web.Request) -> web.Response:
        body = decode(await request.read(), RedeemRequest)
        session, user = self.codes.pop(body.code, (None, 0))
        if session is None or self.host(SessionId(session)) != body.host:
            return web.Response(status=400, text="no such code")
        token = self.connect_token(SessionId(session), user)
        return web.Response(body=encode(TokenReply(token=token)))

    async def _renew(self, request: web.Request) -> web.Response:
        token = decode(await request.read(), RenewRequest).token
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        if claims["sub"] in self.gone:
            return web.Response(status=401, text="gone")
        fresh = self.connect_token(SessionId(claims["sid"]), claims["sub"])
        return web.Response(body=encode(TokenReply(token=fresh)))

    async def _presence(self, request: web.Request) -> web.Response:
        self.presence.append(decode(await request.read(), PresenceReport))
        return web.Response(status=204)

    async def _page(self, request: web.Request) -> web.Response:
        await request.read()
        return web.Response(text=f"platform {request.method} {request.path_qs}")
