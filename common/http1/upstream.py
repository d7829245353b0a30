"""A connection that requests are sent on, one at a time: the far end of an exchange.

States, and what moves them:

    IDLE ──send──▶ HEAD ──final head──▶ BODY ──last byte──▶ IDLE (given back to its lane)
                    │ └──101──▶ handed to `join`, this object is done
                    └─ interim heads (100, 103) are passed on and leave the state as it is

Per-chunk code: `data_received` and `_body_data` run for every read, so they compare states by
identity, call no helper they can avoid and keep the bytes object the transport made.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from typing import TYPE_CHECKING, Protocol, cast

from common.http1.framing import MalformedBodyError, Scanner, UntilCloseBody, response_body
from common.http1.head import (
    HEAD_BYTES_MAX,
    MalformedHeadError,
    ResponseHead,
    find_end,
    parse_response,
)

if TYPE_CHECKING:
    from common.http1.lane import Lane

WRITE_BUFFER_BYTES_MAX = 256 * 1024
"""Pause the reading side beyond this. One read of uvloop is at most 256 KiB, so less would stop and
start a full-speed transfer on every read; memory per connection stays below 1 MiB."""


class Exchange(Protocol):
    """Who sent the request; told how its response proceeds."""

    def interim(self, head: ResponseHead) -> None: ...

    def response(self, head: ResponseHead, early: bytes, ends_with_connection: bool) -> None:
        """Take the final head and what came with it of the body; the rest is `response_data`."""

    def response_data(self, data: bytes) -> None: ...

    def response_done(self) -> None: ...

    def switched(self, head: ResponseHead, upstream: Upstream, early: bytes) -> None:
        """Take a 101: the connection is now raw, and `early` arrived on it already."""

    def upstream_lost(self, error: Exception | None, *, untouched: bool) -> None:
        """Learn that the connection ended, or broke the protocol, before the response's end.

        `untouched`: it ended before a single byte of the response, so it was probably stale.
        """

    def pause_request(self) -> None: ...

    def resume_request(self) -> None: ...


class _State(Enum):
    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    GONE = "gone"


class Upstream(asyncio.Protocol):
    """See the module. Made by a lane, which gets it back when it can be used again."""

    __slots__ = (
        "_body",
        "_buffer",
        "_exchange",
        "_method",
        "_request_done",
        "_reusable",
        "_state",
        "_untouched",
        "_write_paused",
        "idle_since",
        "lane",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.idle_since = 0.0
        self._state = _State.IDLE
        self._exchange: Exchange | None = None
        self._buffer = b""
        self._body: Scanner | None = None
        self._method = b""
        self._reusable = False
        self._request_done = False
        self._untouched = True
        self._write_paused = False

    # ── the exchange's calls ─────────────────────────────────────────────────

    @property
    def usable(self) -> bool:
        return self._state is _State.IDLE and not self.transport.is_closing()

    def send(self, exchange: Exchange, method: bytes, head: bytes) -> None:
        """Begin an exchange by writing the request's head."""
        assert self._state is _State.IDLE, self._state
        self._exchange = exchange
        self._method = method
        self._state = _State.HEAD
        self._request_done = False
        self._untouched = True
        self.transport.write(self.prelude() + head)

    def send_body(self, data: bytes) -> None:
        self.transport.write(data)

    def end_request(self) -> None:
        """Say that the whole request was written; without it the connection isn't used again."""
        self._request_done = True

    def abandon(self) -> None:
        """End the exchange from the other side: the connection can't be used again."""
        self._exchange = None
        self._state = _State.GONE
        self.transport.abort()

    def release_transport(self) -> asyncio.Transport:
        """Give the connection away after a 101."""
        self._exchange = None
        self._state = _State.GONE
        self.lane.lost(self)
        return self.transport

    # ── what tunnels do differently ──────────────────────────────────────────

    def prelude(self) -> bytes:
        """Return bytes to write before each request."""
        return b""

    def strip(self, buffer: bytes) -> bytes:
        """Remove what may stand before a response."""
        return buffer

    def unasked(self, data: bytes) -> None:
        """Take bytes that came while idle: a server that speaks unasked is not to be trusted."""
        del data
        self._state = _State.GONE
        self.transport.abort()

    # ── asyncio's calls ──────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass
        self.transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)

    def data_received(self, data: bytes) -> None:
        state = self._state
        if state is _State.BODY:
            self._body_data(data)
        elif state is _State.HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            try:
                self._read_heads()
            except MalformedHeadError as error:
                self._break(error)
        elif state is _State.IDLE:
            self.unasked(data)

    def _read_heads(self) -> None:
        while self._state is _State.HEAD:
            buffer = self._buffer = self.strip(self._buffer)
            if buffer:
                self._untouched = False
            end = find_end(buffer)
            if (end if end >= 0 else len(buffer)) > HEAD_BYTES_MAX:
                raise MalformedHeadError(502, "The response's head is too long.")
            if end < 0:
                return
            head = parse_response(buffer[:end])
            self._buffer = buffer[end:]
            exchange = self._exchange
            assert exchange is not None
            if head.status >= 200:
                self._final(exchange, head)
            elif head.status == 101:
                early, self._buffer = self._buffer, b""
                exchange.switched(head, self, early)
            else:
                exchange.interim(head)

    def _final(self, exchange: Exchange, head: ResponseHead) -> None:
        body = self._body = response_body(self._method, head)
        ends_with_connection = isinstance(body, UntilCloseBody)
        # A server that answers before it has read the request may not read the rest of it.
        self._reusable = head.keep_alive and not ends_with_connection and self._request_done
        self._state = _State.BODY
        early, self._buffer = self._buffer, b""
        try:
            taken = body.scan(early)
        except MalformedBodyError as error:
            self._break(error)
            return
        # Head and first bytes go out in one write: a write costs as much as all else here.
        exchange.response(head, early[:taken], ends_with_connection)
        if body.done and self._exchange is exchange:
            self._complete(exchange, early[taken:])

    def _body_data(self, data: bytes) -> None:
        body, exchange = self._body, self._exchange
        assert body is not None
        assert exchange is not None
        try:
            taken = body.scan(data)
        except MalformedBodyError as error:
            self._break(error)
            return
        if taken == len(data):
            if taken:
                exchange.response_data(data)
        else:
            exchange.response_data(data[:taken])
        if body.done and self._exchange is exchange:
            self._complete(exchange, data[taken:])

    def _complete(self, exchange: Exchange, rest: bytes) -> None:
        self._exchange = None
        self._body = None
        reusable = self._reusable and not self._write_paused and not self.transport.is_closing()
        self._state = _State.IDLE if reusable else _State.GONE
        if not reusable:
            self.transport.abort() if not self._request_done else self.transport.close()
        elif rest:
            self.unasked(rest)
        if self._write_paused:
            exchange.resume_request()
        if self.usable:
            self.transport.resume_reading()
            self.lane.give_back(self)
        else:
            self.lane.lost(self)
        exchange.response_done()

    def _break(self, error: Exception) -> None:
        exchange, self._exchange = self._exchange, None
        self._state = _State.GONE
        self.transport.abort()
        if exchange is not None:
            exchange.upstream_lost(error, untouched=False)

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        state, self._state = self._state, _State.GONE
        self.lane.lost(self)
        if exchange is None:
            return
        if state is _State.BODY and exc is None and isinstance(self._body, UntilCloseBody):
            exchange.response_done()
        else:
            exchange.upstream_lost(exc, untouched=self._untouched)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._exchange is not None:
            self._exchange.pause_request()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._exchange is not None:
            self._exchange.resume_request()
