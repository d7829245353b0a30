"""The WebSocket to a session: dialled, agreed upon, kept alive.

Reading can be paused, and then nothing is concluded from silence. What is written is bounded by
the credit for stdin; everything else is small.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import SplitResult, urlsplit

from common.exec.framing import ClientFraming, Closed, Pinged, Ponged
from common.exec.handshake import HandshakeError, ask, is_accepted
from common.http1.head import MalformedHeadError, ResponseHead, find_end, parse_response
from common.loopback import is_localhost
from studios.failures import CommandError
from studios.transport import refusal, unreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.clock import Clock
    from common.exec.messages import FromAgent, FromClient

CONNECT_SECONDS_MAX = 10.0
ANSWER_SECONDS_MAX = 30.0
"""The edge waits 5 s for a tunnel, the session 0 s: an answer that takes longer never comes."""
PING_SECONDS = 20.0  # NATs forget connections that are silent for longer
SILENT_SECONDS_MAX = 60.0
_ANSWER_BYTES_MAX = 128 * 1024  # a head, and a sentence about what is wrong
_PORTS = {"http": 80, "https": 443}


class Listener(Protocol):
    """Who wants to hear what the session says."""

    def received(self, message: FromAgent) -> None: ...

    def lost(self, sentence: str) -> None:
        """Nothing more will be received; the sentence is for the person. Called once."""
        ...


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads."""

    host: str
    port: int
    authority: bytes
    target: bytes
    tls: ssl.SSLContext | None

    @staticmethod
    def of(url: str) -> _Place:
        parts: SplitResult = urlsplit(url)
        if parts.scheme not in _PORTS or parts.hostname is None:
            raise CommandError(f"{url!r} is not an http or https address.")
        return _Place(
            host="127.0.0.1" if is_localhost(parts.hostname) else parts.hostname,
            port=parts.port or _PORTS[parts.scheme],
            authority=parts.netloc.rpartition("@")[2].encode("idna"),
            target=(parts.path or "/").encode(),
            tls=ssl.create_default_context() if parts.scheme == "https" else None,
        )


class Connection(asyncio.Protocol):
    """One command's. Made by `dial`."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._framing = ClientFraming()
        self._listener: Listener | None = None
        self._buffer = b""
        self._answered = asyncio.Event()
        self._ended = asyncio.Event()
        self._problem: Exception | None = None
        self._heard_at = self._loop.time()
        self._is_reading = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    # ── the handshake ────────────────────────────────────────────────────────

    async def open(self, url: str, place: _Place, token: str) -> None:
        """Agree upon the protocol, or raise one of our failures."""
        nonce = os.urandom(16)
        self._write(ask(place.target, place.authority, token.encode(), nonce))
        while True:
            head = parse_response(await self._head(url))
            if head.status == 101 or head.status >= 200:
                break
        try:
            if is_accepted(head, nonce):
                return
        except HandshakeError as error:
            raise CommandError(f"{url}: {error}") from None
        raise _refused(url, head.status, await self._body(head))

    async def _head(self, url: str) -> bytes:
        while (end := find_end(self._buffer)) < 0:
            if self._ended.is_set() or len(self._buffer) > _ANSWER_BYTES_MAX:
                raise unreachable(url, self._problem or ConnectionError("no answer"))
            await self._more()
        head, self._buffer = self._buffer[:end], self._buffer[end:]
        return head

    async def _body(self, head: ResponseHead) -> bytes:
        """Return what came of a refusal's body; it has a length, or ends with the connection."""
        length = _ANSWER_BYTES_MAX if head.content_length is None else head.content_length
        while len(self._buffer) < length and not self._ended.is_set():
            await self._more()
        return self._buffer[:length]

    async def _more(self) -> None:
        self._answered.clear()
        await self._answered.wait()

    # ── messages ─────────────────────────────────────────────────────────────

    def listen(self, listener: Listener) -> None:
        """Pass on what comes, and what came already."""
        self._listener = listener
        early, self._buffer = self._buffer, b""
        self._receive(early)
        if self._ended.is_set():
            self._lose()

    def say(self, message: FromClient) -> None:
        """Send a message; nothing if the connection is lost."""
        self._write(self._framing.message(message))

    def close(self) -> None:
        """Say that this was all, and close."""
        self._write(self._framing.close())
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Receive nothing for now. Idempotent."""
        if self._is_reading and self._transport is not None:
            self._is_reading = False
            self._transport.pause_reading()

    def resume(self) -> None:
        """Receive again. Idempotent."""
        if not self._is_reading and self._transport is not None:
            self._is_reading = True
            self._heard_at = self._loop.time()
            self._transport.resume_reading()

    async def keep_alive(self, clock: Clock) -> None:
        """Ping until cancelled; give the connection up when nobody answers."""
        while True:
            await clock.sleep(PING_SECONDS)
            silent_seconds = self._loop.time() - self._heard_at
            if self._is_reading and silent_seconds > SILENT_SECONDS_MAX:
                self._problem = TimeoutError()
                if self._transport is not None:
                    self._transport.abort()
                return
            self._write(self._framing.ping())

    # ── what the loop calls ──────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._loop.time()
        if self._listener is None:
            self._buffer += data
            self._answered.set()
        else:
            self._receive(data)

    def _receive(self, data: bytes) -> None:
        assert self._listener is not None
        for found in self._framing.receive(data):
            match found:
                case Closed():
                    if found.reason:
                        self._problem = CommandError(found.reason)
                    self.close()
                case Pinged(payload):
                    self._write(self._framing.pong(payload))
                case Ponged():
                    pass
                case _:
                    self._listener.received(found)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._problem = self._problem or exc
        self._ended.set()
        self._answered.set()
        if self._listener is not None:
            self._lose()

    def _lose(self) -> None:
        assert self._listener is not None
        problem = self._problem
        reason = f" ({_reason(problem)})" if problem is not None else ""
        self._listener.lost(f"The connection to the session was lost{reason}.")

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)


@contextlib.asynccontextmanager
async def dial(url: str, token: str) -> AsyncIterator[Connection]:
    """Yield an open connection, closed at the end; raise one of our failures."""
    place = _Place.of(url)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            _, connection = await loop.create_connection(
                Connection,
                place.host,
                place.port,
                ssl=place.tls,
                server_hostname=urlsplit(url).hostname if place.tls else None,
            )
    except (OSError, TimeoutError, ssl.SSLError) as error:
        raise unreachable(url, error) from None
    try:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                await connection.open(url, place, token)
        except (TimeoutError, MalformedHeadError) as error:
            raise unreachable(url, error) from None
        yield connection
    finally:
        connection.close()


def _refused(url: str, status: int, body: bytes) -> CommandError:
    """Return the failure for an answer that says no. A token for one command is not the login."""
    return refusal(url, HTTPStatus.FORBIDDEN if status == HTTPStatus.UNAUTHORIZED else status, body)


def _reason(problem: Exception) -> str:
    match problem:
        case TimeoutError():
            return "no answer in time"
        case CommandError():
            return problem.message
        case _:
            return str(problem) or type(problem).__name__
