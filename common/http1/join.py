"""Two connections joined after a 101: bytes are pumped both ways, nothing is parsed.

Compression, subprotocols, close codes, pings and message sizes are therefore right by construction.
A half-close is passed on where the transport can (TCP, not TLS). Each half is all that stays in
memory for an idle WebSocket, so it is small: the objects of the exchange are gone.

Per-chunk code: exempt from the rules on style where they cost speed.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import TYPE_CHECKING

from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

_HALF_CLOSED_SECONDS_MAX = 60.0
"""How long the other direction may still take: a peer that never ends would leak both."""


_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Abort so that the peer sees an error even where an end would be a clean one.

    `abort` alone sends the same FIN as `close`, which is how a response without a length ends.
    """
    connection = transport.get_extra_info("socket")
    if connection is not None and not transport.is_closing():
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class _Half(asyncio.Protocol):
    """One of two connections; writes what it reads to the other."""

    __slots__ = ("_limit", "ended", "on_end", "other", "tap", "transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.other: _Half | None = None
        self.tap: Callable[[bytes], None] | None = None
        self.on_end: Callable[[], None] | None = None
        self.ended = False
        self._limit: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        other = self.other
        if other is None:
            return
        if self.tap is not None:
            self.tap(data)
        other.transport.write(data)

    def eof_received(self) -> bool:
        other = self.other
        if other is None or not (
            other.transport.can_write_eof() and self.transport.can_write_eof()
        ):
            return False
        self.ended = True
        other.transport.write_eof()
        if other.ended:
            return False
        loop = asyncio.get_running_loop()
        self._limit = loop.call_later(_HALF_CLOSED_SECONDS_MAX, self.transport.close)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if self._limit is not None:
            self._limit.cancel()
        other, self.other = self.other, None
        if other is None:
            return
        other.other = None
        if exc is None:
            other.transport.close()
        else:
            reset(other.transport)
        on_end = self.on_end or other.on_end
        if on_end is not None:
            on_end()

    def pause_writing(self) -> None:
        if self.other is not None:
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None:
            self.other.transport.resume_reading()


def join(
    client: asyncio.Transport,
    server: asyncio.Transport,
    *,
    from_client: bytes,
    from_server: bytes,
    tap_client: Callable[[bytes], None] | None = None,
    tap_server: Callable[[bytes], None] | None = None,
    on_end: Callable[[], None] | None = None,
) -> None:
    """Join two open connections; `from_…` are bytes that were read already and not yet passed on.

    `tap_…` sees what that side sends. `on_end` is called once, when either connection is lost.
    """
    client_half, server_half = _Half(client), _Half(server)
    client_half.other, server_half.other = server_half, client_half
    client_half.tap, server_half.tap = tap_client, tap_server
    client_half.on_end = on_end
    for half in (client_half, server_half):
        half.transport.set_protocol(half)
        half.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
    if from_client:
        client_half.data_received(from_client)
    if from_server:
        server_half.data_received(from_server)
    client.resume_reading()
    server.resume_reading()
