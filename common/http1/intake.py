"""The incoming half of a connection: cuts requests out of the stream.

What happens to them is `relay`'s business. Here are the limits on what a client may send before it
has said anything useful: the head's size and time, the idle time, what may pile up meanwhile.

Per-chunk code: `data_received` runs for every read.
"""

from __future__ import annotations

import asyncio
import math
from enum import Enum
from typing import TYPE_CHECKING, TypeVar, cast

import structlog

from common.http1.framing import MalformedBodyError
from common.http1.head import (
    HEAD_BYTES_MAX,
    MalformedHeadError,
    RequestHead,
    find_end,
    parse_request,
)
from common.http1.liveness import probe
from common.http1.site import PATIENT, Patience
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from common.http1.framing import Scanner
    from common.http1.site import Site

_log = structlog.get_logger()
T = TypeVar("T")

HEAD_SECONDS_MAX = 20.0
"""From a head's first byte to its last; a client that is slower holds connections on purpose."""


class State(Enum):
    """See the diagram in `relay`."""

    READING = "reading"
    DECIDING = "deciding"
    GATHERING = "gathering"
    RELAYING = "relaying"
    SKIPPING = "skipping"
    CLOSING = "closing"
    CLOSED = "closed"


class Intake(asyncio.Protocol):
    """See the module. `deadline` is the loop's time at which `expire` is due; 0 means none."""

    __slots__ = (
        "_body",
        "_body_due",
        "_buffer",
        "_head",
        "_heard",
        "_patience",
        "_searched",
        "_state",
        "_task",
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
        self._head: RequestHead | None = None
        self._task: asyncio.Task[None] | None = None
        self._buffer = b""
        self._searched = 0
        self._heard = False
        """Whether a piece of the body came since `expire` last looked."""
        self._patience: Patience = PATIENT
        self._body_due = math.inf
        """The loop's time at which the body has to be there."""
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
        elif state is State.GATHERING:
            self._keep(data)
            self._gathered()
        elif state is not State.CLOSING:
            self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._heard = True
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

    def _start(self, name: str, act: Callable[[T], Coroutine[None, None, None]], what: T) -> None:
        self._task = self.site.tasks.spawn(self._contained(act, what), name=name)

    async def _contained(self, act: Callable[[T], Coroutine[None, None, None]], what: T) -> None:
        """End the connection, not the program, when one request meets a bug.

        That is also what the loop does with an exception in `data_received`. Ending the program
        would let anybody who finds such a request close the door to everybody else.
        """
        try:
            await act(what)
        except Exception:  # noqa: BLE001 - see above
            _log.exception("exchange_died", request_id=self.request_id)
            self.transport.abort()

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

    def _go_on(self) -> None:
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

    def _expect_body(self, patience: Patience) -> None:
        """Go on with a request that has a body: at once, or once it is whole."""
        self._patience = patience
        self._body_due = asyncio.get_running_loop().time() + patience.seconds_max
        if patience.gather:
            self._state = State.GATHERING
            self._await_body()
            self._gathered()
        else:
            self._go_on()

    def _gathered(self) -> None:
        head = self._head
        assert head is not None
        if len(self._buffer) >= (head.content_length or 0):
            self.deadline = 0.0
            self._state = State.DECIDING
            self._go_on()

    def _await_body(self) -> None:
        """Set the deadline for the next piece of the body."""
        self._heard = False
        silent_until = asyncio.get_running_loop().time() + self._patience.silent_seconds_max
        self.deadline = min(silent_until, self._body_due)

    def expire(self) -> None:
        """Act on a deadline that has passed."""
        due, self.deadline = self.deadline, 0.0
        if self._state is State.READING and self._buffer:
            self._refuse(408, "The request's head did not arrive in time.")
        elif self._state is State.READING:
            self.transport.close()
        elif self._state not in (State.RELAYING, State.GATHERING):
            self.transport.abort()
        elif due >= self._body_due:
            self._refuse(408, "The request's body did not arrive in time.")
        elif self._heard or not self.transport.is_reading():  # not reading: the tool is slow
            self._await_body()
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
