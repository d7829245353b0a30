"""The gateway's own rules: what counts as use, what goes on, whom it answers itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.gateway import use
from agent.gateway.connection import UNHEARD_MAX, TunnelConnection
from agent.gateway.rewrite import from_tool, to_tool
from agent.gateway.stream import StreamedBody
from common.http1.head import parse_request, parse_response
from common.tasks import TaskBag
from tests.support.conversation import FakeSite, FakeTransport, turn_over

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# ── use ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "fields", "expected"),
    [
        ("GET", "", ""),
        ("HEAD", "", ""),
        ("OPTIONS", "", ""),
        ("GET", "Sec-Fetch-Mode: cors\r\n", ""),
        ("GET", "Sec-Fetch-Mode: websocket\r\n", ""),
        ("GET", "Sec-Fetch-Mode: navigate\r\n", "page opened"),
        ("POST", "", "POST request"),
        ("PUT", "Sec-Fetch-Mode: cors\r\n", "PUT request"),
        ("DELETE", "", "DELETE request"),
    ],
)
def test_opening_and_changing_is_use_and_polling_is_not(
    method: str, fields: str, expected: str
) -> None:
    head = parse_request(f"{method} / HTTP/1.1\r\nHost: a\r\n{fields}\r\n".encode())
    assert use.reason(head) == expected


# ── fields ───────────────────────────────────────────────────────────────────


def test_a_request_goes_to_the_tool_as_the_edge_sent_it() -> None:
    data = b"GET /a%2F?b HTTP/1.1\r\nHost: x:1\r\nCookie: a=b\r\nX-Connect-Sub: 7\r\n\r\n"
    assert to_tool(parse_request(data)) == data
    old = data.replace(b"HTTP/1.1", b"HTTP/1.0")
    assert to_tool(parse_request(old)) == old


def test_only_a_websocket_s_upgrade_goes_to_the_tool() -> None:
    start = b"GET / HTTP/1.1\r\nHost: a\r\n"
    asked = start + b"Connection: x, upgrade\r\nX: 1\r\nUpgrade: WebSocket\r\n\r\n"
    expected = start + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert to_tool(parse_request(asked)) == expected
    assert to_tool(parse_request(asked.replace(b"WebSocket", b"h2c"))) == start + b"\r\n"


def test_a_response_goes_back_less_what_is_for_the_next_hop() -> None:
    head = parse_response(
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nConnection: keep-alive, X\r\nX: 1\r\n"
        b"Keep-Alive: 5\r\nSet-Cookie: b\r\n\r\n"
    )
    assert from_tool(head) == [(b"Set-Cookie", b"a"), (b"Set-Cookie", b"b")]


# ── the connection ───────────────────────────────────────────────────────────


class End:
    """Notes what a connection tells its tunnel."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def busy(self, connection: TunnelConnection) -> None:
        self.told.append("busy")

    def parked(self, connection: TunnelConnection) -> None:
        self.told.append("parked")

    def want(self, count: int) -> None:
        self.told.append(f"want {count}")

    def drained(self) -> None:
        self.told.append("drained")

    def gone(self, connection: TunnelConnection) -> None:
        self.told.append("gone")


class Talk:
    """One tunnel connection and the tool behind it."""

    def __init__(self, early: bytes = b"") -> None:
        self.site = FakeSite()
        self.end = End()
        self.connection = TunnelConnection(self.site, self.end)
        self.edge = FakeTransport(asyncio.Protocol())
        self.connection.adopt(self.edge, early)

    @property
    def tool(self) -> FakeTransport:
        return self.site.lane.tools[-1]


LINES = b"WANT 3\nGO\n" + GET + b"WANT 2\nGO\n" + GET + b"DRAIN\n"


async def test_lines_and_requests_are_told_apart_at_every_split() -> None:
    for cut in range(len(LINES) + 1):
        talk = Talk()
        for piece in (LINES[:cut], LINES[cut:]):
            talk.edge.feed(piece)
            await turn_over()
        await play(talk)
        assert talk.edge.sent == b"!" + OK + b"!" + OK, cut
        assert talk.end.told == [
            "parked", "want 3", "busy", "parked", "want 2", "busy", "parked", "drained"
        ], cut  # fmt: skip
        assert talk.edge.is_closing()


async def play(talk: Talk) -> None:
    """Let the tool answer until it isn't asked any more."""
    answered = 0
    for _ in range(4):
        if talk.site.lane.tools and talk.tool.sent.count(GET) > answered:
            answered += 1
            talk.tool.feed(OK)
        await turn_over()


async def test_the_ack_comes_once_with_the_first_bytes_interim_or_final() -> None:
    talk = Talk(early=b"GO\n" + GET)
    assert not talk.edge.sent
    talk.tool.feed(b"HTTP/1.1 103 Early Hints\r\n\r\n")
    talk.tool.feed(OK)
    assert talk.edge.sent == b"!HTTP/1.1 103 Early Hints\r\n\r\n" + OK


async def test_a_heartbeat_is_sent_while_parked_and_never_into_an_exchange() -> None:
    talk = Talk()
    talk.connection.heartbeat()
    assert talk.edge.sent == b"."
    talk.edge.feed(b"G")
    talk.connection.heartbeat()
    assert talk.edge.sent == b".."
    talk.edge.feed(b"O\n")
    talk.connection.heartbeat()
    talk.edge.feed(GET)
    talk.connection.heartbeat()
    assert talk.edge.sent == b".."
    talk.tool.feed(OK)
    talk.connection.heartbeat()
    assert talk.edge.sent == b"..!" + OK + b"."
    talk.edge.close()
    talk.connection.heartbeat()


async def test_a_connection_whose_heartbeats_nobody_acknowledges_is_given_up() -> None:
    talk = Talk()
    talk.edge.hold()
    for _ in range(UNHEARD_MAX):
        talk.connection.heartbeat()
        assert not talk.edge.is_closing()
    talk.edge.release()
    talk.connection.heartbeat()
    talk.edge.hold()
    for _ in range(UNHEARD_MAX):
        talk.connection.heartbeat()
    assert not talk.edge.is_closing(), "one that came through begins the count anew"
    talk.connection.heartbeat()
    assert talk.edge.aborted


async def test_a_parked_connection_has_no_deadline() -> None:
    talk = Talk()
    talk.edge.feed(b"WANT 2\n")
    assert talk.connection.deadline == 0.0
    talk.edge.feed(b"GO\n" + GET)
    talk.tool.feed(OK)
    assert talk.connection.deadline == 0.0


async def test_an_edge_that_leaves_ends_the_request_at_the_tool() -> None:
    talk = Talk()
    talk.edge.feed(b"GO\n" + GET)
    talk.edge.break_off(ConnectionResetError())
    await turn_over()
    assert talk.end.told == ["parked", "busy"]
    assert talk.tool.aborted
    assert not talk.site.open


# ── streams ──────────────────────────────────────────────────────────────────


class Pieces:
    """A body that comes piece by piece; counts how many were taken."""

    def __init__(self) -> None:
        self.taken = 0
        self.closed = False

    async def __call__(self) -> AsyncIterator[bytes]:
        try:
            while True:
                self.taken += 1
                yield b"x" * 100_000
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def test_a_stream_waits_for_a_slow_reader_and_ends_with_it() -> None:
    tasks = TaskBag("test")
    pieces = Pieces()
    transport = FakeTransport(asyncio.Protocol())
    transport.hold()
    StreamedBody(pieces(), tasks).take_over(transport, b"")
    await turn_over()
    await turn_over()
    stuck = pieces.taken
    assert 0 < stuck < 10
    await turn_over()
    assert pieces.taken == stuck
    transport.release()
    await turn_over()
    assert pieces.taken > stuck
    transport.abort()
    await turn_over()
    assert not tasks._tasks
    assert transport.is_closing()


async def test_a_stream_that_ends_closes_its_connection() -> None:
    async def two() -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    transport = FakeTransport(asyncio.Protocol())
    StreamedBody(two(), TaskBag("test")).take_over(transport, b"dropped")
    await turn_over()
    assert transport.sent == b"onetwo"
    assert transport.is_closing()
