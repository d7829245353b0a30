"""One tunnel connection at the edge, see docs/tunnel-protocol.md.

It came in as a client's connection; from its 101 on it is an upstream, whose idle state is called
parked. Heartbeats come while parked, and may still be on the wire when a request goes out: they are
dropped up to the agent's ack.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.http1.head import MalformedHeadError
from common.http1.upstream import Exchange, Upstream

if TYPE_CHECKING:
    from common.ids import RunNumber
    from connect_proxy.tunnels import SessionTunnels

SILENT_SECONDS_MAX = 40.0
_HEARTBEAT = b"."
_ACK = b"!"


class ParkedConnection(Upstream):
    """See the module."""

    __slots__ = ("_acknowledged", "heard_at", "run", "tunnels")

    def __init__(self, tunnels: SessionTunnels, run: RunNumber) -> None:
        super().__init__(tunnels)
        self.tunnels = tunnels
        self.run = run
        self.heard_at = asyncio.get_running_loop().time()
        self._acknowledged = False

    def adopt(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take over a connection after its 101; `early` are bytes the agent sent already."""
        transport.set_protocol(self)
        self.connection_made(transport)
        transport.resume_reading()
        self.tunnels.park(self)
        if early:
            self.data_received(early)

    def send(self, exchange: Exchange, method: bytes, head: bytes) -> None:
        self._acknowledged = False
        super().send(exchange, method, head)

    def prelude(self) -> bytes:
        return b"GO\n"

    def strip(self, buffer: bytes) -> bytes:
        if self._acknowledged:
            return buffer
        rest = buffer.lstrip(_HEARTBEAT)
        if not rest:
            return b""
        if not rest.startswith(_ACK):
            raise MalformedHeadError(502, "The agent answered without an acknowledgement.")
        self._acknowledged = True
        return rest[1:]

    def unasked(self, data: bytes) -> None:
        if data.strip(_HEARTBEAT):
            super().unasked(data)
        else:
            self.heard_at = asyncio.get_running_loop().time()

    def tell(self, line: bytes) -> None:
        """Send a tunnel line; only while parked."""
        assert self.usable
        self.transport.write(line)
