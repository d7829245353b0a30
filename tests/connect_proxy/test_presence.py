"""Who is connected, what the control plane hears of it, and whose connections end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from common.clock import SteppingClock, settle
from common.edge_messages import EdgeSession, PresenceReport
from common.ids import SessionId
from common.tokens import (
    ConnectClaims,
    TokenSigner,
    TokenVerifier,
    connect_audience,
    generate_key,
)
from connect_proxy import presence as module
from connect_proxy.control_plane import ControlPlaneUnavailableError, TokenRefusedError
from connect_proxy.grants import Grant, Grants
from connect_proxy.presence import Presence
from tests.support.conversation import FakeTransport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SESSION = SessionId("1234abcd")
HOST = "a1234abcd.studio.localhost"
KEY = generate_key("k1")


@dataclass
class InProgress:
    """A connection that carries a request."""

    context: object
    transport: FakeTransport = field(default_factory=lambda: FakeTransport(asyncio.Protocol()))
    resting: bool = False


class FakeControlPlane:
    """Signs tokens again, unless a test says otherwise."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.reports: list[PresenceReport] = []
        self.away = False
        self.gone: set[int] = set()
        self.renewed: list[int] = []

    async def report_presence(self, report: PresenceReport) -> None:
        if self.away:
            raise ControlPlaneUnavailableError("away")
        self.reports.append(report)

    async def renew(self, token: str) -> str:
        if self.away:
            raise ControlPlaneUnavailableError("away")
        grant = self.bench.grants.check(token, HOST)
        assert grant is not None
        self.renewed.append(grant.claims.sub)
        if grant.claims.sub in self.gone:
            raise TokenRefusedError("gone")
        return self.bench.token(grant.claims.sub)


class Bench:
    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.signer = TokenSigner([KEY], self.clock)
        self.grants = Grants(TokenVerifier(self.signer.public_keys(), self.clock), self.clock)
        self.connections: list[Any] = []
        self.control_plane = FakeControlPlane(self)
        self.presence = Presence(
            edge_id="e",
            control_plane=self.control_plane,  # type: ignore[arg-type]
            grants=self.grants,
            connections=self.connections,
            clock=self.clock,
        )

    def token(self, sub: int, refused: str = "") -> str:
        now = self.signer.now()
        claims = ConnectClaims(
            aud=connect_audience(HOST), iat=now, exp=now + 3600, sub=sub, name="n", sid=SESSION,
            av=1, refused=refused,
        )  # fmt: skip
        return self.signer.sign(claims)

    def grant(self, sub: int) -> Grant:
        grant = self.grants.check(self.token(sub), HOST)
        assert grant is not None
        return grant

    def websocket(self, sub: int) -> FakeTransport:
        visit = self.presence.seen(SESSION, HOST, self.grant(sub))
        assert visit is not None
        transport = FakeTransport(asyncio.Protocol())
        visit.websockets.add(transport)
        return transport

    def request(self, sub: int) -> InProgress:
        carried = InProgress(self.presence.seen(SESSION, HOST, self.grant(sub)))
        self.connections.append(carried)
        return carried

    @property
    def reported(self) -> list[int]:
        return sorted(c.user_id for c in self.control_plane.reports[-1].connections)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    task = asyncio.get_running_loop().create_task(made.presence.report_forever())
    await settle()
    yield made
    assert not task.done()
    task.cancel()
    await asyncio.wait([task])


CHANGED = EdgeSession(
    session_id=SESSION, name="n", status="running", message="", owner="o", run_number=1,
    access_version=2,
)  # fmt: skip


async def test_who_comes_and_goes_is_reported_within_two_seconds(bench: Bench) -> None:
    assert bench.reported == []
    bench.request(7).resting = True
    await bench.clock.advance(2)
    assert bench.reported == [7]
    bench.websocket(8)
    await bench.clock.advance(2)
    assert bench.reported == [7, 8]
    await bench.clock.advance(61)
    bench.presence.sweep(0.0)
    await bench.clock.advance(2)
    assert bench.reported == [8], "whose WebSocket is open stays"
    assert bench.presence.people == bench.presence.websockets == 1


async def test_a_request_in_progress_keeps_a_person_present(bench: Bench) -> None:
    carried = bench.request(7)
    await bench.clock.advance(600)
    bench.presence.sweep(0.0)
    assert bench.presence.people == 1
    carried.resting = True
    bench.presence.sweep(0.0)
    assert bench.presence.people == 0


async def test_presence_is_reported_every_half_minute_and_again_after_an_outage(
    bench: Bench,
) -> None:
    bench.websocket(7)
    await bench.clock.advance(2)
    count = len(bench.control_plane.reports)
    await bench.clock.advance(95)
    assert len(bench.control_plane.reports) == count + 3
    bench.control_plane.away = True
    await bench.clock.advance(65)
    bench.control_plane.away = False
    await bench.clock.advance(31)
    assert bench.reported == [7]


async def test_tokens_of_people_who_stay_are_renewed_and_those_of_the_gone_end_it(
    bench: Bench,
) -> None:
    staying, leaving = bench.websocket(7), bench.websocket(8)
    resting = bench.request(9)
    resting.resting = True
    bench.control_plane.gone.add(8)
    await bench.clock.advance(1700)
    assert bench.control_plane.renewed == []
    await bench.clock.advance(200)
    assert sorted(set(bench.control_plane.renewed)) == [7, 8]
    assert not staying.aborted
    assert leaving.aborted
    await bench.clock.advance(36_000)
    assert bench.control_plane.renewed.count(7) >= 19
    bench.control_plane.away = True
    await bench.clock.advance(3000)
    assert not staying.aborted


async def test_a_changed_right_is_asked_about_until_there_is_an_answer(bench: Bench) -> None:
    refused, staying = bench.websocket(7), bench.websocket(8)
    reading, idle = bench.request(7), bench.request(7)
    idle.resting = True
    bench.control_plane.gone.add(7)
    bench.control_plane.away = True
    task = asyncio.get_running_loop().create_task(bench.presence.recheck(CHANGED))
    await settle()
    ended = [refused.aborted]
    bench.control_plane.away = False
    await bench.clock.advance(1)
    await task
    ended.append(refused.aborted)
    assert ended == [False, True]
    assert reading.transport.aborted
    assert not idle.transport.aborted
    assert not staying.aborted


async def test_a_token_that_comes_back_refused_ends_it_too(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    transport = bench.websocket(7)

    async def refusing(_: str) -> str:
        return bench.token(7, refused="Ask ada.")

    monkeypatch.setattr(bench.control_plane, "renew", refusing)
    await bench.presence.recheck(CHANGED)
    assert transport.aborted


async def test_nobody_is_asked_about_who_is_not_served(bench: Bench) -> None:
    bench.request(7).resting = True
    await bench.presence.recheck(CHANGED)
    assert bench.control_plane.renewed == []


async def test_everything_at_a_deleted_session_ends(bench: Bench) -> None:
    socket, carried = bench.websocket(7), bench.request(8)
    bench.presence.end_session(SessionId("5678ef01"))
    ended = [socket.aborted]
    bench.presence.end_session(SESSION)
    ended.append(socket.aborted)
    assert ended == [False, True]
    assert carried.transport.aborted


async def test_more_people_than_can_be_watched_are_not_let_in(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PEOPLE_MAX", 2)
    assert bench.presence.seen(SESSION, HOST, bench.grant(1)) is not None
    assert bench.presence.seen(SESSION, HOST, bench.grant(2)) is not None
    assert bench.presence.seen(SESSION, HOST, bench.grant(3)) is None
    assert bench.presence.seen(SESSION, HOST, bench.grant(1)) is not None
