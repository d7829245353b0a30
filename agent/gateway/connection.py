"""A tunnel connection, seen from the agent's end; docs/tunnel-protocol.md says every byte.

Between requests it is parked and carries tunnel lines; `GO` makes it an ordinary HTTP/1.1
connection for one exchange. The first bytes of each response are preceded by the ack.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import structlog

from common.http1.intake import State
from common.http1.liveness import unacknowledged_bytes
from common.http1.relay import Downstream

if TYPE_CHECKING:
    import asyncio

    from common.http1.site import Site

_log = structlog.get_logger()
_LINE_BYTES_MAX = 16
WANT_MAX = 256
UNHEARD_MAX = 3


class TunnelEnd(Protocol):
    """Who keeps the connection: the tunnel to one edge."""

    def busy(self, connection: TunnelConnection) -> None: ...

    def parked(self, connection: TunnelConnection) -> None: ...

    def want(self, count: int) -> None: ...

    def drained(self) -> None: ...

    def gone(self, connection: TunnelConnection) -> None: ...


class TunnelConnection(Downstream):
    """See the module."""

    __slots__ = ("_acknowledged", "_going", "_unheard", "end")

    def __init__(self, site: Site, end: TunnelEnd) -> None:
        super().__init__(site)
        self.end = end
        self._going = False
        self._acknowledged = False
        self._unheard = 0
        """Heartbeats in a row that found the one before still on its way."""

    def adopt(self, transport: asyncio.Transport, early: bytes) -> None:
        """Take over a connection that the edge has just answered with 101."""
        transport.set_protocol(self)
        self.connection_made(transport)
        transport.resume_reading()
        self.end.parked(self)
        if early:
            self.data_received(early)

    def heartbeat(self) -> None:
        """Tell the edge, and everything between, that this parked connection lives.

        The edge answers nothing, but its TCP acknowledges: when it doesn't, the connection is dead.
        """
        if self._going or self.transport.is_closing():
            return
        self._unheard = self._unheard + 1 if unacknowledged_bytes(self.transport) else 0
        if self._unheard == UNHEARD_MAX:
            _log.info("tunnel_connection_dead")
            self.transport.abort()
        else:
            self.transport.write(b".")

    def before_head(self, buffer: bytes) -> bytes | None:
        while not self._going:
            line, newline, buffer = buffer.partition(b"\n")
            if len(line) >= _LINE_BYTES_MAX:
                self._protocol_error(line)
                return None
            if not newline:
                self._wait_for_line(line)
                return None
            if line == b"GO":
                self._going = True
                self._acknowledged = False
                self.end.busy(self)
            elif not self._tunnel_line(line):
                return None
        return buffer

    def _wait_for_line(self, partial: bytes) -> None:
        self._buffer = partial
        if not partial:
            self.deadline = 0.0  # parked: the edge may stay silent for as long as it likes

    def _tunnel_line(self, line: bytes) -> bool:
        """Act on WANT or DRAIN; return whether the connection goes on."""
        if line == b"DRAIN":
            self.end.drained()
            self.transport.close()
            return False
        word, _, number = line.partition(b" ")
        if word == b"WANT" and number.isdigit() and 1 <= int(number) <= WANT_MAX:
            self.end.want(int(number))
            return True
        self._protocol_error(line)
        return False

    def _protocol_error(self, line: bytes) -> None:
        _log.warning("tunnel_protocol_error", line=line[:_LINE_BYTES_MAX])
        self._state = State.CLOSING
        self.transport.abort()

    def write_head(self, data: bytes) -> None:
        if self._acknowledged:
            self.transport.write(data)
        else:
            self._acknowledged = True
            self.transport.write(b"!" + data)

    def idle(self) -> None:
        self._going = False
        self.end.parked(self)
        self.deadline = 0.0
