"""One connection, from dialling to parked."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit

from common.http1.head import HEAD_BYTES_MAX, MalformedHeadError, find_end, parse_response
from common.loopback import is_localhost

if TYPE_CHECKING:
    from agent.gateway.connection import TunnelConnection
    from common.secret import Secret

HANDSHAKE_SECONDS_MAX = 10.0


class DialError(Exception):
    """The edge could not be reached, or refused: `status` is 0 or the answer's."""

    def __init__(self, sentence: str, status: int = 0, retry_after_seconds: float = 0.0) -> None:
        super().__init__(sentence)
        self.status = status
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class EdgeAddress:
    """Where an edge listens. `host_field` is what the Host field says."""

    host: str
    port: int
    host_field: str
    tls: bool

    @staticmethod
    def parse(url: str) -> EdgeAddress:
        """Return the address in an `http(s)://` URL; localhost names are this machine."""
        parts = urlsplit(url)
        tls = parts.scheme == "https"
        host = parts.hostname or ""
        port = parts.port or (443 if tls else 80)
        address = "127.0.0.1" if is_localhost(host) else host
        return EdgeAddress(address, port, parts.netloc, tls)


class _Handshake(asyncio.Protocol):
    """Sends the request and waits for the answer's head."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        whole = find_end(self._buffer) >= 0 or len(self._buffer) > HEAD_BYTES_MAX
        if whole and not self.answer.done():
            self._transport.pause_reading()  # what follows belongs to the next protocol
            self.answer.set_result(self._buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.answer.done():
            self.answer.set_exception(DialError(f"the edge closed the connection ({exc or 'EOF'})"))


async def park(address: EdgeAddress, token: Secret, connection: TunnelConnection) -> None:
    """Dial, authenticate and hand the socket to `connection`; raises DialError."""
    request = (
        f"GET /_connect/tunnel HTTP/1.1\r\nHost: {address.host_field}\r\n"
        "Connection: Upgrade\r\nUpgrade: studio-tunnel/1\r\n"
        f"Authorization: Bearer {token.reveal()}\r\n\r\n"
    ).encode()
    loop = asyncio.get_running_loop()
    context = ssl.create_default_context() if address.tls else None
    handshake = _Handshake(request)
    try:
        async with asyncio.timeout(HANDSHAKE_SECONDS_MAX):
            transport, _ = await loop.create_connection(
                lambda: handshake, address.host, address.port, ssl=context
            )
            try:
                buffer = await handshake.answer
                _switch(transport, buffer, connection)
            except BaseException:
                transport.abort()
                raise
    except TimeoutError:
        raise DialError("the edge does not answer") from None
    except OSError as error:
        raise DialError(f"the edge can't be reached ({error})") from None


def _switch(transport: asyncio.Transport, buffer: bytes, connection: TunnelConnection) -> None:
    end = find_end(buffer)
    if end < 0:
        raise DialError("the edge's answer is too long")
    try:
        answer = parse_response(buffer[:end])
    except MalformedHeadError as error:
        raise DialError(error.sentence) from None
    if answer.status != 101:
        retry_after = answer.fields.get(b"retry-after", b"0")
        raise DialError(
            f"the edge refused the tunnel with {answer.status}",
            answer.status,
            float(retry_after) if retry_after.isdigit() else 0.0,
        )
    wanted = answer.fields.get(b"studio-tunnel-want", b"")
    if transport.is_closing():  # it would never hear of its end again
        raise DialError("the edge hung up")
    if wanted.isdigit() and len(wanted) <= 3:
        connection.end.want(int(wanted))
    connection.adopt(transport, buffer[end:])
