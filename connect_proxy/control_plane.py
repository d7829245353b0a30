"""Calls to the control plane. Any of them may fail; nothing here loses state by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import aiohttp
import structlog
from aiohttp.http_exceptions import HttpProcessingError

from common.backoff import Backoff
from common.edge_messages import (
    FEED_HEARTBEAT_SECONDS,
    FeedLine,
    PresenceReport,
    RedeemRequest,
    RenewRequest,
    TokenReply,
)
from common.loopback import LoopbackResolver
from common.wire import MalformedMessageError, decode, encode
from connect_proxy.lines import LineCutter

if TYPE_CHECKING:
    import random

    from common.clock import Clock
    from common.secret import Secret
    from connect_proxy.sessions import SessionDirectory

_log = structlog.get_logger()
T = TypeVar("T")

CALL_SECONDS_MAX = 5.0
_FEED_SILENT_SECONDS_MAX = 3 * FEED_HEARTBEAT_SECONDS
_FEED_LINE_BYTES_MAX = 4 * 1024 * 1024
"""Much more than a session can need; what is longer is a fault, and costs only its own line."""
_FEED_BREAKS = (aiohttp.ClientError, HttpProcessingError, TimeoutError, OSError, ValueError)
"""aiohttp's HttpProcessingError is no ClientError, though it may come out of reading a body."""
_RETRY_SECONDS_MIN = 0.2
_RETRY_SECONDS_MAX = 5.0
_REASON_CHARACTERS_MAX = 200


class ControlPlaneUnavailableError(Exception):
    """No answer, or one that makes no sense; try again later."""


class TokenRefusedError(Exception):
    """The control plane knows no such code, token or person any more."""


class ControlPlane:
    """The control plane, as the edge sees it."""

    def __init__(self, url: str, token: Secret, clock: Clock, rng: random.Random) -> None:
        """`url` is `http(s)://host:port` or `unix:/path`."""
        path = url.removeprefix("unix:")
        unix = path != url
        self._base = "http://control-plane" if unix else url.rstrip("/")
        connector: aiohttp.BaseConnector
        if unix:
            connector = aiohttp.UnixConnector(path)
        else:
            connector = aiohttp.TCPConnector(resolver=LoopbackResolver())
        self._http = aiohttp.ClientSession(
            connector=connector,
            headers={"Authorization": f"Bearer {token.reveal()}"},
        )
        self._clock = clock
        self._backoff = Backoff(
            first_seconds=_RETRY_SECONDS_MIN, seconds_max=_RETRY_SECONDS_MAX, rng=rng
        )
        self.feed_alive = False

    async def close(self) -> None:
        await self._http.close()

    async def signing_keys(self) -> str:
        """Return the JWKS document."""
        return (await self._call("GET", "/.well-known/jwks.json")).decode()

    async def redeem(self, code: str, host: str) -> str:
        """Exchange a login code for a connect token."""
        body = encode(RedeemRequest(code=code, host=host))
        return self._parsed(await self._call("POST", "/api/edge/v1/redeem", body), TokenReply).token

    async def renew(self, token: str) -> str:
        """Return a fresh token for the same person, session and host."""
        body = encode(RenewRequest(token=token))
        return self._parsed(await self._call("POST", "/api/edge/v1/renew", body), TokenReply).token

    async def report_presence(self, report: PresenceReport) -> None:
        await self._call("PUT", "/api/edge/v1/presence", encode(report))

    async def _call(self, method: str, path: str, body: bytes | None = None) -> bytes:
        timeout = aiohttp.ClientTimeout(total=CALL_SECONDS_MAX)
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            async with self._http.request(
                method, self._base + path, data=body, headers=headers, timeout=timeout
            ) as response:
                content = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ControlPlaneUnavailableError(str(error) or type(error).__name__) from None
        if status in (400, 401, 403, 404):
            raise TokenRefusedError(content.decode("utf-8", "replace")[:500])
        if status >= 300:
            raise ControlPlaneUnavailableError(f"it answered {status}")
        return content

    def _parsed(self, content: bytes, kind: type[T]) -> T:
        try:
            return decode(content, kind)
        except MalformedMessageError as error:
            raise ControlPlaneUnavailableError(str(error)) from None

    async def follow_feed(self, directory: SessionDirectory) -> None:
        """Keep `directory` up to date until cancelled, reconnecting with jittered back-off."""
        while True:
            try:
                await self._read_feed(directory)
                reason = "it ended"
            except _FEED_BREAKS as error:
                reason = str(error) or type(error).__name__
            if self.feed_alive:
                self._backoff.reset()
                self.feed_alive = False
                _log.info("feed_lost", reason=reason)
            await self._clock.sleep(self._backoff.next_seconds())

    async def _read_feed(self, directory: SessionDirectory) -> None:
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=CALL_SECONDS_MAX, sock_read=_FEED_SILENT_SECONDS_MAX
        )
        url = self._base + "/api/edge/v1/feed"
        async with self._http.get(url, timeout=timeout) as response:
            response.raise_for_status()
            directory.begin()
            cutter = LineCutter(_FEED_LINE_BYTES_MAX)
            async for data in response.content.iter_any():
                dropped = cutter.dropped
                for line in cutter.cut(data):
                    self._apply(line, directory)
                if cutter.dropped > dropped:
                    _log.error("feed_lines_too_long", count=cutter.dropped - dropped)
                self.feed_alive = directory.known

    def _apply(self, line: bytes, directory: SessionDirectory) -> None:
        """Apply one line; one that makes no sense concerns one session, so the others go on."""
        if not line.strip():
            return
        try:
            directory.apply(decode(line, FeedLine))
        except MalformedMessageError as error:
            _log.error("feed_line_skipped", reason=str(error)[:_REASON_CHARACTERS_MAX])
