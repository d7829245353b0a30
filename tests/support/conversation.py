"""Conversations in memory: a client, a `Downstream`, and a scripted tool behind it.

The transports here pass no bytes by themselves: a test says what arrives, in which pieces, and
looks at what was written. So every split of a conversation can be tried in no time.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from common.http1.fields import end_to_end
from common.http1.head import RequestHead, ResponseHead, write_request
from common.http1.relay import Downstream
from common.http1.replies import Reply, message
from common.http1.site import Decision, Forward, Later, Switch
from common.http1.upstream import Upstream
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from common.http1.lane import LaneUnavailableError

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def post(length: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    """Return a request with a body of `length` bytes, of which only `body` is there yet."""
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (length, fields, body)


class FakeTransport(asyncio.Transport):
    """One end of a connection. `sent` is what the protocol wrote; `feed` is what it reads."""

    def __init__(self, protocol: asyncio.Protocol) -> None:
        super().__init__()
        self.protocol: asyncio.Protocol = protocol
        self.sent = bytearray()
        self.eof_sent = False
        self.aborted = False
        self.reset = False
        self.held = False
        self.unsent = 0
        self._high = 65536
        self._closing = False
        self._reading = True
        self._arrived: deque[bytes | None] = deque()
        protocol.connection_made(self)

    # ── what tests do ────────────────────────────────────────────────────────

    def feed(self, data: bytes) -> None:
        """Let bytes arrive; they wait while reading is paused."""
        if data:
            self._arrived.append(data)
            self._deliver()

    def feed_eof(self) -> None:
        """Let the peer end the connection."""
        self._arrived.append(None)
        self._deliver()

    def break_off(self, error: Exception) -> None:
        """Lose the connection."""
        self._end(error)

    def hold(self) -> None:
        """Let the peer read nothing from now on."""
        self.held = True

    def release(self) -> None:
        """Let the peer read everything at once."""
        self.held = False
        over, self.unsent = self.unsent > self._high, 0
        if over:
            self.protocol.resume_writing()

    @property
    def waiting(self) -> int:
        """Bytes that arrived and weren't read yet; in real life they wait in the kernel."""
        return sum(len(data) for data in self._arrived if data is not None)

    # ── what protocols do ────────────────────────────────────────────────────

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.eof_sent, "written after the end"
        if self._closing:
            return
        self.sent += data
        if self.held:
            before = self.unsent
            self.unsent += len(data)
            if before <= self._high < self.unsent:
                self.protocol.pause_writing()

    def write_eof(self) -> None:
        self.eof_sent = True

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high = high or 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        assert isinstance(protocol, asyncio.Protocol)
        self.protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self.protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            asyncio.get_running_loop().call_soon(self._deliver)

    def close(self) -> None:
        self._end(None)

    def abort(self) -> None:
        self.aborted = True
        self._end(None)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("192.0.2.7", 5) if name == "peername" else default

    def _end(self, error: Exception | None) -> None:
        if not self._closing:
            self._closing = True
            self._arrived.clear()
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, error)

    def _deliver(self) -> None:
        while self._arrived and self._reading and not self._closing:
            data = self._arrived.popleft()
            if data is not None:
                self.protocol.data_received(data)
            elif not self.protocol.eof_received():
                self.close()


class FakeLane:
    """Connections to the tool. `dials` makes each request wait for its connection first."""

    def __init__(self, *, dials: bool = False) -> None:
        self.dials = dials
        self.tools: list[FakeTransport] = []
        self.idle: list[Upstream] = []
        self.lost_ones: set[Upstream] = set()
        self.refusal: LaneUnavailableError | None = None

    def take(self) -> Upstream | None:
        while self.idle:
            upstream = self.idle.pop()
            if upstream.usable:
                return upstream
        return None if self.dials or self.refusal else self._connect()

    async def wait(self) -> Upstream:
        await asyncio.sleep(0)
        if self.refusal is not None:
            raise self.refusal
        return self._connect()

    def _connect(self) -> Upstream:
        upstream = Upstream(self)
        self.tools.append(FakeTransport(upstream))
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        self.idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        self.lost_ones.add(upstream)
        if upstream in self.idle:
            self.idle.remove(upstream)


class FakeSite:
    """Forwards everything, unless a test sets `decision`."""

    idle_seconds_max = 75.0

    def __init__(self, *, later: bool = False, dials: bool = False) -> None:
        self.tasks = TaskBag("test")
        self.lane = FakeLane(dials=dials)
        self.later = later
        self.heads: list[RequestHead] = []
        self.failures: list[tuple[int, str]] = []
        self.open: set[Downstream] = set()
        self.decision: Callable[[RequestHead], Reply | Forward | Switch | None] = lambda _: None

    def decide(self, downstream: Downstream, head: RequestHead) -> Decision:
        self.heads.append(head)
        return Later(self._decide(head)) if self.later else self._now(head)

    async def _decide(self, head: RequestHead) -> Reply | Forward | Switch:
        await asyncio.sleep(0)
        return self._now(head)

    def _now(self, head: RequestHead) -> Reply | Forward | Switch:
        return self.decision(head) or Forward(self.lane, self.rewritten(head), self.respond)

    def rewritten(self, head: RequestHead) -> bytes:
        headers = end_to_end(head)
        if head.is_websocket:
            headers += [(b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")]
        return write_request(head.method, head.target, head.minor_version, headers)

    def respond(self, head: ResponseHead) -> list[tuple[bytes, bytes]]:
        return end_to_end(head)

    def failure(
        self, downstream: Downstream, head: RequestHead | None, status: int, sentence: str
    ) -> Reply:
        self.failures.append((status, sentence))
        return message(status, sentence)

    def opened(self, downstream: Downstream) -> None:
        self.open.add(downstream)

    def closed(self, downstream: Downstream) -> None:
        self.open.discard(downstream)


@dataclass
class Turn:
    """What the tool must have been sent, and what it answers; `ends`: then it closes."""

    forwarded: bytes
    answered: bytes
    ends: bool = False


@dataclass
class Conversation:
    """A client's connection and the script of the tool behind it."""

    site: FakeSite
    turns: list[Turn] = field(default_factory=list)
    read: dict[FakeTransport, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.downstream = Downstream(self.site)
        self.client = FakeTransport(self.downstream)

    @property
    def tool(self) -> FakeTransport:
        """The newest connection to the tool."""
        return self.site.lane.tools[-1]

    async def say(self, pieces: Iterable[bytes], *, answer_in: int = 0) -> None:
        """Let the client send `pieces`; the tool's answers are cut at `answer_in`."""
        for piece in pieces:
            self.client.feed(piece)
            await turn_over()
            while self._answer(answer_in):
                await turn_over()

    def _answer(self, cut: int) -> bool:
        """Play the next turn if its request has arrived whole on a connection."""
        if not self.turns:
            return False
        turn = self.turns[0]
        for tool in self.site.lane.tools:
            start = self.read.get(tool, 0)
            if tool.sent[start:] == turn.forwarded:
                self.read[tool] = start + len(turn.forwarded)
                del self.turns[0]
                pieces = (
                    [turn.answered[:cut], turn.answered[cut:]]
                    if cut >= 0
                    else [turn.answered[i : i + 1] for i in range(len(turn.answered))]
                )
                for piece in pieces:
                    tool.feed(piece)
                if turn.ends:
                    tool.feed_eof()
                return True
        return False


async def turn_over() -> None:
    """Let callbacks that are due run, and those they schedule."""
    for _ in range(6):
        await asyncio.sleep(0)


def status(talk: Conversation) -> int:
    """Return the status of the first response that the client got."""
    return int(talk.client.sent.split(b" ", 2)[1])
