"""The agent's end of the tunnel, against edges that a test plays byte by byte."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from agent.gateway.connection import TunnelConnection
from agent.tunnel.handshake import EdgeAddress
from agent.tunnel.link import HEARTBEAT_SECONDS, WANTED_MAX, EdgeLink
from common.clock import SteppingClock
from common.secret import Secret
from tests.support.conversation import FakeSite
from tests.support.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.gateway.connection import TunnelEnd

ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: studio-tunnel/1\r\n"
    b"Studio-Tunnel-Want: 2\r\n\r\n"
)


class Site(FakeSite):
    """Answers by itself; tells the link when a connection ends, as the gateway does."""

    def closed(self, downstream: object) -> None:
        assert isinstance(downstream, TunnelConnection)
        downstream.end.gone(downstream)


class FakeGateway:
    """Gives the link its connections."""

    def __init__(self) -> None:
        self.site = Site()

    def connection(self, end: TunnelEnd) -> TunnelConnection:
        return TunnelConnection(self.site, end)


@dataclass
class FakeEdge:
    """Accepts connections; `answer` is what the next ones get."""

    port: int = 0
    answer: bytes = ACCEPTED
    heads: list[bytes] = field(default_factory=list)
    ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.ends.append((reader, writer))
        self.heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        if b"101" not in self.answer[:16]:
            writer.close()

    @property
    def writer(self) -> asyncio.StreamWriter:
        return self.ends[-1][1]


@dataclass
class Bench:
    edge: FakeEdge
    clock: SteppingClock
    link: EdgeLink
    changes: list[bool] = field(default_factory=list)

    @property
    def parked(self) -> int:
        return len(self.link._parked)

    async def pass_seconds(self, seconds: float) -> None:
        await until(lambda: self.clock.sleeping >= 1)
        await self.clock.advance(seconds)


@asynccontextmanager
async def bench(edge: FakeEdge | None = None, *, listens: bool = True) -> AsyncIterator[Bench]:
    edge = edge or FakeEdge()
    server = await asyncio.start_server(edge.serve, "127.0.0.1", 0)
    edge.port = server.sockets[0].getsockname()[1]
    if not listens:
        server.close()
    clock = SteppingClock()
    gateway = FakeGateway()
    made: list[Bench] = []
    link = EdgeLink(
        url=f"http://edge.localhost:{edge.port}",
        token=lambda: Secret("token"),
        gateway=gateway,  # type: ignore[arg-type]
        clock=clock,
        rng=random.Random(1),
        on_change=lambda: made[0].changes.append(link.connected),
    )
    made.append(Bench(edge, clock, link))
    task = asyncio.get_running_loop().create_task(link.run())
    try:
        yield made[0]
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.wait([task])
        await link.close()
        server.close()
        for _, writer in edge.ends:
            writer.transport.abort()
        await asyncio.sleep(0.01)


async def test_it_dials_says_who_it_is_and_parks_as_many_as_the_edge_wants() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        assert (
            at.edge.heads[0]
            == (
                f"GET /_connect/tunnel HTTP/1.1\r\nHost: edge.localhost:{at.edge.port}\r\n"
                "Connection: Upgrade\r\nUpgrade: studio-tunnel/1\r\n"
                "Authorization: Bearer token\r\n\r\n"
            ).encode()
        )
        assert at.changes == [True]
        assert at.link.status().parked == 2
        at.edge.answer = ACCEPTED.replace(b"Want: 2", b"Want: 7")
        at.edge.writer.write(b"WANT 7\n")
        await until(lambda: at.parked == 7)
        at.edge.answer = ACCEPTED.replace(b"Want: 2", b"Want: 256")
        at.edge.writer.write(b"WANT 256\n")
        await until(lambda: at.parked == WANTED_MAX)
        await asyncio.sleep(0.02)
        assert len(at.edge.ends) == WANTED_MAX, "never more than it may"


async def test_parked_connections_send_a_heartbeat_every_fifteen_seconds() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        for _ in range(3):
            await at.pass_seconds(HEARTBEAT_SECONDS)
        for reader, _ in at.edge.ends:
            assert await reader.readexactly(3) == b"..."


async def test_a_request_is_acknowledged_with_its_answer_and_the_connection_parked_again() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        reader, writer = at.edge.ends[0]
        for _ in range(3):
            writer.write(b"GO\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await until(lambda: at.link.status().busy == 1)
            await until(lambda: at.parked == 2, what="the busy one is replaced")
            site = at.link._gateway.site  # type: ignore[attr-defined]
            site.lane.tools[-1].feed(b"HTTP/1.1 204 X\r\n\r\n")
            assert await reader.readexactly(19) == b"!HTTP/1.1 204 X\r\n\r\n"
            await until(lambda: at.link.status().busy == 0)


BROKEN_LINES = [
    b"GO \nGET",
    b"go\n",
    b"GO\r\n",
    b"WANT 0\n",
    b"WANT 257\n",
    b"WANT -1\n",
    b"WANT \n",
    b"WANT\n",
    b"WANT 1 1\n",
    b"WANT " + b"1" * 5000 + b"\n",
    b"HTTP/1.1 200 OK\r\n",
    b"\n",
    b".",
    b"x" * 17,
    b"\x00\xff\n",
]


@pytest.mark.parametrize("line", BROKEN_LINES)
async def test_an_edge_that_breaks_the_protocol_is_left(line: bytes) -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        reader, writer = at.edge.ends[0]
        writer.write(line if line != b"." else b"." * 17)
        async with asyncio.timeout(5):
            assert await reader.read(-1) == b""
        assert at.parked == 1


async def test_lines_may_arrive_byte_by_byte() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        at.edge.writer.transport.set_write_buffer_limits(0)
        for byte in b"WANT 3\nWANT 4\n":
            at.edge.writer.write(bytes([byte]))
            await asyncio.sleep(0)
        await until(lambda: at.parked == 4)


async def test_drain_ends_the_connection_and_the_next_attempt_waits() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        for reader, writer in list(at.edge.ends):
            writer.write(b"DRAIN\n")
            assert await reader.read(-1) == b""
        await until(lambda: at.changes == [True, False])
        assert len(at.edge.ends) == 2
        assert at.link.status().message == "the edge is draining"
        await at.pass_seconds(0.1)
        await until(lambda: at.parked == 2)


async def test_connections_that_are_lost_are_replaced_after_a_moment_one_first() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        for _, writer in at.edge.ends:
            writer.transport.abort()
        await until(lambda: at.parked == 0)
        await asyncio.sleep(0.02)
        assert len(at.edge.ends) == 2, "not at once"
        await at.pass_seconds(0.1)
        await until(lambda: at.parked == 2)


async def test_an_edge_that_accepts_and_hangs_up_is_not_stormed() -> None:
    class HangsUp(FakeEdge):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await super().serve(reader, writer)
            writer.close()

    async with bench(HangsUp()) as at:
        await asyncio.sleep(0.1)
        assert len(at.edge.ends) <= 3
        for _ in range(10):
            await at.pass_seconds(0.1)
        await asyncio.sleep(0.05)
        assert len(at.edge.ends) <= 3 + 4 * 10


async def test_spare_connections_the_edge_closes_are_not_missed() -> None:
    async with bench() as at:
        await until(lambda: at.parked == 2)
        at.edge.answer = ACCEPTED.replace(b"Want: 2", b"Want: 6")
        at.edge.writer.write(b"WANT 6\n")
        await until(lambda: at.parked == 6)
        at.edge.writer.write(b"WANT 2\n")
        for _, writer in at.edge.ends[:3]:
            writer.transport.abort()
        await until(lambda: at.parked == 3)
        await at.pass_seconds(1.0)
        await asyncio.sleep(0.02)
        assert len(at.edge.ends) == 6
        assert not at.link._failing


async def test_attempts_to_a_missing_edge_are_made_one_at_a_time_and_ever_more_slowly() -> None:
    async with bench(listens=False) as at:
        pauses = []
        for _ in range(12):
            await until(lambda: at.clock.sleeping >= 2, what="heartbeat and back-off")
            due = sorted(when for when, _, future in at.clock._sleepers if not future.done())
            pauses.append(due[0] - at.clock.monotonic())
            await at.clock.advance(pauses[-1])
        assert 0.05 <= pauses[0] <= 0.1
        assert all(pause <= 10.0 for pause in pauses)
        assert pauses[8] > 2.0
        assert "can't be reached" in at.link.status().message
        assert not at.link.connected


async def next_pause(at: Bench) -> float:
    """Return how long the link waits before it dials, leaving the heartbeat aside."""
    await until(lambda: at.clock.sleeping >= 2, what="heartbeat and back-off")
    pauses = [when - at.clock.monotonic() for when, _, future in at.clock._sleepers]
    return next(pause for pause in pauses if pause != HEARTBEAT_SECONDS)


@pytest.mark.parametrize(
    ("answer", "at_least"),
    [
        (b"HTTP/1.1 401 No\r\n\r\n", 0.05),
        (b"HTTP/1.1 409 Old\r\n\r\n", 60),
        (b"HTTP/1.1 426 What\r\nUpgrade: studio-tunnel/2\r\n\r\n", 60),
        (b"HTTP/1.1 503 Full\r\nRetry-After: 7\r\n\r\n", 7),
        (b"HTTP/1.1 503 Full\r\nRetry-After: 99999999999999\r\n\r\n", 60),
        (b"HTTP/1.1 503 Full\r\nRetry-After: soon\r\n\r\n", 0.05),
        (b"HTTP/1.1 200 OK\r\n\r\n", 0.05),
        (b"garbage\r\n\r\n", 0.05),
        (b"\r\n\r\n", 0.05),
        (b"x" * 70_000, 0.05),
        (b"HTTP/1.1 101 X\r\nUpgrade: studio-tunnel/1\r\nX: " + b"x" * 70_000, 0.05),
        (b"", 0.05),
    ],
)
async def test_an_edge_that_refuses_is_asked_again_later(answer: bytes, at_least: float) -> None:
    async with bench(FakeEdge(answer=answer)) as at:
        await until(lambda: at.link.status().message not in ("", "connecting"))
        await until(lambda: not at.link._dialling)
        pause = await next_pause(at)
        assert at_least <= pause <= max(at_least, 1.0)
        assert not at.link.connected
        at.edge.answer = ACCEPTED
        dialled = len(at.edge.ends)
        await asyncio.sleep(0.02)
        assert len(at.edge.ends) == dialled
        await at.clock.advance(60.0)
        await until(lambda: at.parked == 2)
        assert at.link.status().message == ""


async def test_an_edge_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.tunnel.handshake.HANDSHAKE_SECONDS_MAX", 0.05)

    class Silent(FakeEdge):
        async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.ends.append((reader, writer))

    async with bench(Silent()) as at:
        await until(lambda: at.link.status().message == "the edge does not answer")


async def test_bytes_right_behind_the_answer_are_not_lost() -> None:
    async with bench(FakeEdge(answer=ACCEPTED + b"WANT 5\nWANT 3\n")) as at:
        await until(lambda: at.parked == 3)
        assert at.link._wanted == 3, "what was said last counts"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://studio.localhost:9191", ("127.0.0.1", 9191, "studio.localhost:9191", False)),
        ("https://edge.example", ("edge.example", 443, "edge.example", True)),
        ("http://10.0.0.1", ("10.0.0.1", 80, "10.0.0.1", False)),
        ("https://[2001:db8::1]:8443/x", ("2001:db8::1", 8443, "[2001:db8::1]:8443", True)),
    ],
)
def test_where_an_edge_listens(url: str, expected: tuple[str, int, str, bool]) -> None:
    assert EdgeAddress.parse(url) == EdgeAddress(*expected)
