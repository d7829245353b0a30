"""The incoming half of a connection: cuts requests out of the stream.

What happens to them is `relay`'s business. Here are the limits on what a client may send before it
has said anything useful: the head's size and time, the idle time, what may pile up meanwhile.

Per-chunk code: `data_received` runs for every read.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, cast

from common.http1.head import (
    HEAD_BYTES_MAX,
    MalformedHeadError,
    RequestHead,
    find_end,
    parse_request,
)
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from common.http1.framing import Scanner
    from common.http1.site import Site

HEAD_SECONDS_MAX = 20.0
"""From a head's first byte to its last; a client that is slower holds connections on purpose."""


class State(Enum):
    """See the diagram in `relay`."""

    READING = "reading"
    DECIDING = "deciding"
    RELAYING = "relaying"
    CLOSING = "closing"
    CLOSED = "closed"


class Intake(asyncio.Protocol):
    """See the module. `deadline` is the loop's time at which `expire` is due; 0 means none."""

    __slots__ = (
        "_body",
        "_buffer",
        "_searched",
        "_state",
        "client",
        "close_after",
        "deadline",
        "request_id",
        "site",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, site: Site) -> None:
        self.site = site
        self.client = ""
        self.request_id = ""
        self.deadline = 0.0
        self.close_after = False
        self._state = State.READING
        self._buffer = b""
        self._searched = 0
        self._body: Scanner | None = None
        """Follows the request's body; None when there is none, or no more of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        peer = self.transport.get_extra_info("peername")
        self.client = peer[0] if isinstance(peer, tuple) else ""
        self.deadline = asyncio.get_running_loop().time() + self.site.idle_seconds_max

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is State.RELAYING and self._body is not None:
            self._request_bytes(data)
        elif state is State.READING:
            if not self._buffer:
                self.deadline = asyncio.get_running_loop().time() + HEAD_SECONDS_MAX
            self._buffer = self._buffer + data if self._buffer else data
            self._read_head()
        elif state is not State.CLOSING:
            self._buffer += data
            if len(self._buffer) > WRITE_BUFFER_BYTES_MAX:
                self.transport.pause_reading()

    def before_head(self, buffer: bytes) -> bytes | None:
        """Strip what may stand before a request; None while it isn't complete."""
        return buffer.lstrip(b"\r\n") if buffer.startswith(b"\r\n") else buffer

    def _read_head(self) -> None:
        stripped = self.before_head(self._buffer)
        if stripped is None:
            return
        self._buffer = stripped
        end = find_end(stripped, self._searched)
        if end < 0 and len(stripped) <= HEAD_BYTES_MAX:
            self._searched = len(stripped)
            return
        self._searched = 0
        try:
            if end < 0 or end > HEAD_BYTES_MAX:
                raise MalformedHeadError(
                    431, f"The request's head is larger than {HEAD_BYTES_MAX} bytes."
                )
            head = parse_request(stripped[:end])
        except MalformedHeadError as error:
            self._refuse(error.status, error.sentence)
            return
        self._buffer = stripped[end:]
        self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        raise NotImplementedError

    def _request_bytes(self, data: bytes) -> None:
        raise NotImplementedError

    def _refuse(self, status: int, sentence: str) -> None:
        raise NotImplementedError

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self.deadline = 0.0
        if self._state is State.READING and self._buffer:
            self._refuse(408, "The request's head did not arrive in time.")
        elif self._state in (State.READING, State.CLOSING):
            self.transport.abort() if self._state is State.CLOSING else self.transport.close()

    @property
    def resting(self) -> bool:
        """Whether no request is in progress: such a connection may be closed without harm."""
        return self._state is State.READING and not self._buffer

    def eof_received(self) -> bool:
        # A client that goes away sends the same FIN as one that only ends its own side. Servers of
        # interactive tools must stop working for people who left, so it counts as gone.
        return False
