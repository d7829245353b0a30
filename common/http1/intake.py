"""The incoming half of a connection: cuts requests out of the stream.

What happens to them is `relay`'s business. Here are the limits on what a client may send before it
has said anything useful: the head's size and time, the idle time, what may pile up meanwhile.

Per-chunk code: `data_received` runs for every read.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, cast

from common.http1.framing import MalformedBodyError
from common.http1.head import (
    HEAD_BYTES_MAX,
    MalformedHeadError,
    RequestHead,
    find_end,
    parse_request,
)
from common.http1.liveness import probe
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from common.http1.framing import Scanner
    from common.http1.site import Site

HEAD_SECONDS_MAX = 20.0
"""From a head's first byte to its last; a client that is slower holds connections on purpose."""

BODY_SILENT_SECONDS_MAX = 300.0
"""Between two pieces of a request's body, while somebody waits to read them."""


class State(Enum):
    """See the diagram in `relay`."""

    READING = "reading"
    DECIDING = "deciding"
    RELAYING = "relaying"
    SKIPPING = "skipping"
    CLOSING = "closing"
    CLOSED = "closed"


class Intake(asyncio.Protocol):
    """See the module. `deadline` is the loop's time at which `expire` is due; 0 means none."""

    __slots__ = (
        "_body",
        "_buffer",
        "_heard",
        "_searched",
        "_state",
        "client",
        "close_after",
        "context",
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
        self.context: object = None
        """What the site wants to know again about the latest request."""
        self._state = State.READING
        self._buffer = b""
        self._searched = 0
        self._heard = False
        """Whether a piece of the body came since `expire` last looked."""
        self._body: Scanner | None = None
        """Follows the request's body; None when there is none, or no more of it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        probe(self.transport)
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
                self._buffer = data
            else:
                self._keep(data)
            self._read_head()
        elif state is State.SKIPPING:
            self._skip(data)
        elif state is not State.CLOSING:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) > WRITE_BUFFER_BYTES_MAX:
            self.transport.pause_reading()

    def read_on(self) -> None:
        """Go on with what came while the last request was in progress.

        In a later turn of the loop: else one client that sends thousands of small requests at once
        would keep everybody else waiting, and use up the stack.
        """
        if len(self._buffer) <= WRITE_BUFFER_BYTES_MAX:
            self.transport.resume_reading()
        if self._buffer:
            loop = asyncio.get_running_loop()
            self.deadline = loop.time() + HEAD_SECONDS_MAX
            loop.call_soon(self._read_kept)

    def _read_kept(self) -> None:
        if self._state is State.READING and self._buffer:
            self._read_head()

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

    def _next(self) -> None:
        raise NotImplementedError

    def _skip(self, data: bytes) -> None:
        body = self._body
        assert body is not None
        try:
            taken = body.scan(data)
        except MalformedBodyError:
            self.transport.abort()
            return
        if body.done:
            self._body = None
            self._buffer = data[taken:]
            self._next()

    def _skip_body(self) -> None:
        """Throw a request body away that arrived whole; a longer one ends the connection."""
        if self._body is None:
            return
        try:
            taken = self._body.scan(self._buffer)
        except MalformedBodyError:
            return
        self._buffer = self._buffer[taken:]
        if self._body.done:
            self._body = None

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        self.deadline = 0.0
        if self._state is State.READING and self._buffer:
            self._refuse(408, "The request's head did not arrive in time.")
        elif self._state is State.READING:
            self.transport.close()
        elif self._state is not State.RELAYING:
            self.transport.abort()
        elif self._heard or not self.transport.is_reading():  # not reading: the tool is slow
            self._heard = False
            self.deadline = asyncio.get_running_loop().time() + BODY_SILENT_SECONDS_MAX
        else:
            self._refuse(408, "The request's body stopped coming.")

    @property
    def resting(self) -> bool:
        """Whether no request is in progress: such a connection may be closed without harm."""
        return self._state is State.READING and not self._buffer

    def eof_received(self) -> bool:
        # A client that goes away sends the same FIN as one that only ends its own side. Servers of
        # interactive tools must stop working for people who left, so it counts as gone.
        return False
