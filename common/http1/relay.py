"""One exchange, from the request's first byte to the response's last. Start here.

A `Downstream` is a connection that requests come in on. It cuts out the head, asks its `Site`
what to do, and then either answers itself or passes the request to an `Upstream` and that one's
response back. Both bodies stream; a slow reader on either side pauses the other side's reading, so
memory per exchange is bounded by the two transports' buffers.

    READING ──head──▶ DECIDING ──Forward──▶ RELAYING ──both bodies done──▶ READING
       ▲                 │ Reply                │ 101 ──▶ `join`
       └─────────────────┘                      └─ client or server gone ──▶ CLOSED
    GATHERING: a short request body has to be whole before a connection is taken for it.
    SKIPPING: answered before the request's body ended; its rest is thrown away, then READING.
    CLOSING: the last response is written, what still arrives is thrown away for a while, so that
    the client reads the response before the reset that unread data would cause.

The site decides in a plain function where it can; that is the fast path, with no task at all. Where
it has to ask somebody it returns `Later`. Requests that arrive meanwhile (pipelining) wait in a
bounded buffer.

Per-chunk code: `data_received`, `_request_bytes`, `response_data` run for every read.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

from common.http1.fields import FRAMING, end_to_end
from common.http1.framing import MalformedBodyError, request_body
from common.http1.head import MalformedHeadError, RequestHead, ResponseHead, write_response
from common.http1.intake import Intake, State
from common.http1.join import join, reset
from common.http1.lane import LaneUnavailableError
from common.http1.replies import Reply
from common.http1.site import Decision, Forward, Later, Site, Switch

if TYPE_CHECKING:
    from common.http1.upstream import Upstream

LINGER_SECONDS_MAX = 5.0


class Downstream(Intake):
    """See the module."""

    __slots__ = (
        "_answered",
        "_forward",
        "_linger",
        "_retried",
        "_unframed",
        "_upstream",
        "_write_paused",
    )

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._forward: Forward | None = None
        self._upstream: Upstream | None = None
        self._retried = False
        self._answered = False
        self._unframed = False
        """Whether the response ends with its connection."""
        self._linger = False
        self._write_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.site.opened(self)

    # ── the request goes out ─────────────────────────────────────────────────

    def _begin(self, head: RequestHead) -> None:
        self.deadline = 0.0
        self._head = head
        body = request_body(head)
        self._body = None if body.done else body
        self._state = State.DECIDING
        self._retried = self._answered = False
        self._apply(self.site.decide(self, head))

    def _apply(self, decision: Decision) -> None:
        match decision:
            case Forward():
                self._forward = decision
                if self._body is None:
                    self._go_on()
                else:
                    self._expect_body(decision.patience)
            case Reply():
                self._answer(decision)
            case Switch():
                self._switch(decision)
            case Later():
                self._start("decide", self._decide, decision)
            case _:
                assert_never(decision)

    def _go_on(self) -> None:
        forward = self._forward
        assert forward is not None
        upstream = forward.lane.take()
        if upstream is None:
            self._start("connect", self._connect, forward)
        else:
            self._relay(upstream)

    async def _decide(self, later: Later) -> None:
        decision = await later.decision
        self._task = None
        if self._state is State.DECIDING:
            self._apply(decision)

    async def _connect(self, forward: Forward) -> None:
        try:
            upstream = await forward.lane.wait()
        except LaneUnavailableError as error:
            self._task = None
            self._refuse(error.status, error.sentence)
            return
        self._task = None
        if self._state is State.DECIDING:
            self._relay(upstream)
        else:
            forward.lane.give_back(upstream)

    def _relay(self, upstream: Upstream) -> None:
        head, forward = self._head, self._forward
        assert head is not None
        assert forward is not None
        self._state = State.RELAYING
        self._upstream = upstream
        if self._write_paused:
            upstream.transport.pause_reading()
        upstream.send(self, head.method, forward.head)
        if self._body is None:
            upstream.end_request()
            return
        early, self._buffer = self._buffer, b""
        self._await_body()
        self.transport.resume_reading()
        if early:
            self._request_bytes(early)

    def _request_bytes(self, data: bytes) -> None:
        body, upstream = self._body, self._upstream
        assert body is not None
        assert upstream is not None
        try:
            taken = body.scan(data)
        except MalformedBodyError as error:
            self._refuse(400, f"The request's body is malformed: {error}.")
            return
        self._heard = True
        upstream.send_body(data if taken == len(data) else data[:taken])
        if body.done:
            self.deadline = 0.0
            self._body = None
            self._buffer = data[taken:]
            upstream.end_request()

    def pause_request(self) -> None:
        self.transport.pause_reading()

    def resume_request(self) -> None:
        self.transport.resume_reading()

    # ── the response comes back ──────────────────────────────────────────────

    def interim(self, head: ResponseHead) -> None:
        if self._head is not None and self._head.minor_version == 1:
            headers = end_to_end(head, FRAMING)  # an interim response has no body to frame
            self.write_head(write_response(head.status, head.reason, headers))

    def response(self, head: ResponseHead, early: bytes, ends_with_connection: bool) -> None:
        request, forward = self._head, self._forward
        assert request is not None
        assert forward is not None
        if head.chunked and request.minor_version == 0:
            self._refuse(502, "The tool answered an HTTP/1.0 request in the chunked coding.")
            return
        self._answered = True
        self._unframed = ends_with_connection
        headers = forward.respond(head)
        if ends_with_connection or not request.keep_alive:
            self.close_after = True
        if self.close_after:
            headers.append((b"Connection", b"close"))
        elif request.minor_version == 0:
            headers.append((b"Connection", b"keep-alive"))
        self.write_head(write_response(head.status, head.reason, headers) + early)

    def write_head(self, data: bytes) -> None:
        """Write the first bytes of an interim or final response."""
        self.transport.write(data)

    def response_data(self, data: bytes) -> None:
        self.transport.write(data)

    def response_done(self) -> None:
        self._upstream = None
        self._let_go()
        if self._body is not None and not self.close_after:
            self._state = State.SKIPPING
            self.deadline = asyncio.get_running_loop().time() + LINGER_SECONDS_MAX
            self.transport.resume_reading()
        else:
            self._next()

    def switched(self, head: ResponseHead, upstream: Upstream, early: bytes) -> None:
        request, forward = self._head, self._forward
        assert request is not None
        assert forward is not None
        if not request.is_websocket or self._body is not None:
            self._refuse(502, "The tool switched protocols without being asked.")
            return
        headers = [h for h in forward.respond(head) if h[0].lower() not in FRAMING]
        headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        self.write_head(write_response(101, head.reason, headers))
        pipelined, self._buffer = self._buffer, b""
        self._upstream = None
        self._state = State.CLOSED
        self._let_go()
        self.site.closed(self)
        if forward.joined is not None:
            forward.joined(self, upstream, pipelined, early)
        else:
            server = upstream.release_transport()
            join(self.transport, server, from_client=pipelined, from_server=early)

    def upstream_lost(self, error: Exception | None, *, untouched: bool) -> None:
        head, forward = self._head, self._forward
        assert head is not None
        assert forward is not None
        self._upstream = None
        if self._answered:
            # A response cut short must be seen as cut short: no terminating chunk, no clean end.
            reset(self.transport) if self._unframed else self.transport.abort()
        elif untouched and not self._retried and head.may_be_repeated:
            self._retried = True
            self._state = State.DECIDING
            self._start("reconnect", self._connect, forward)
        else:
            reason = str(error) if isinstance(error, MalformedHeadError) else "it closed"
            self._refuse(502, f"The connection behind this address failed: {reason}")

    # ── the end of an exchange ───────────────────────────────────────────────

    def _answer(self, reply: Reply) -> None:
        self._let_go()
        head = self._head
        head_only = head is not None and head.method == b"HEAD"
        self._skip_body()
        if reply.close or self._body is not None:
            self._linger = True
        if self._linger or head is None or not head.keep_alive:
            self.close_after = True
        self.write_head(reply.write(head_only=head_only, close=self.close_after))
        self._next()

    def turn_away(self, sentence: str) -> None:
        """Answer with 503 before anything was asked, and close."""
        self._refuse(503, sentence)

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer with an error and close: whatever failed, the next request starts clean."""
        self._drop_upstream()
        if self._state is State.CLOSED or self.transport.is_closing():
            return
        if self._answered:
            self.transport.abort()
            return
        self._linger = True
        self._answer(self.site.failure(self, self._head, status, sentence))

    def _next(self) -> None:
        now = asyncio.get_running_loop().time()
        if self.close_after or self._body is not None:
            self._state = State.CLOSING
            self._buffer = b""
            self.deadline = now + LINGER_SECONDS_MAX
            if (self._linger or self._body is not None) and self.transport.can_write_eof():
                self.transport.write_eof()
                self.transport.resume_reading()
            else:
                self.transport.close()
            return
        self._state = State.READING
        self._head = None
        self.deadline = now + self.site.idle_seconds_max
        self.idle()
        self.read_on()

    def idle(self) -> None:
        """Do what a kind of connection does between requests."""

    def _switch(self, switch: Switch) -> None:
        early, self._buffer = self._buffer, b""
        self._state = State.CLOSED
        self.site.closed(self)
        self.write_head(switch.reply)
        switch.take_over(self.transport, early)

    def _let_go(self) -> None:
        forward, self._forward = self._forward, None
        if forward is not None and forward.ended is not None:
            forward.ended()

    def _drop_upstream(self) -> None:
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abandon()
            upstream.lane.lost(upstream)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state is State.CLOSED:
            return
        self._state = State.CLOSED
        self._drop_upstream()
        self._let_go()
        if self._task is not None:
            self._task.cancel()
        self.site.closed(self)

    def pause_writing(self) -> None:
        self._write_paused = True
        if self._upstream is not None:
            self._upstream.transport.pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._upstream is not None:
            self._upstream.transport.resume_reading()
