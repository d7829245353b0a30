"""Parked connections: who gets one, who waits, and when they end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from common.http1.lane import LaneUnavailableError
from common.http1.relay import Downstream
from common.http1.site import Forward
from common.ids import RunNumber, SessionId
from connect_proxy import tunnels as module
from connect_proxy.parked import SILENT_SECONDS_MAX, ParkedConnection
from connect_proxy.tunnels import SessionTunnels, Tunnels
from tests.support.conversation import FakeSite, FakeTransport, turn_over

if TYPE_CHECKING:
    from common.http1.head import RequestHead


class Agent:
    """Parks connections at `tunnels`."""

    def __init__(self, tunnels: SessionTunnels | None = None) -> None:
        self.tunnels = tunnels or SessionTunnels()
        self.ends: list[FakeTransport] = []

    def park(self, run: int = 1, early: bytes = b"") -> ParkedConnection:
        assert self.tunnels.admit(RunNumber(run))
        connection = ParkedConnection(self.tunnels, RunNumber(run))
        transport = FakeTransport(asyncio.Protocol())
        connection.adopt(transport, early)
        self.ends.append(transport)
        return connection


@pytest.fixture
async def agent() -> Agent:
    return Agent()


def waiting(agent: Agent) -> asyncio.Task[ParkedConnection]:
    return asyncio.get_running_loop().create_task(agent.tunnels.wait())


async def test_the_connection_used_last_is_used_first(agent: Agent) -> None:
    first, second = agent.park(), agent.park()
    assert agent.tunnels.take() is second
    assert agent.tunnels.take() is first
    assert agent.tunnels.take() is None
    assert agent.tunnels.open == 2
    agent.tunnels.give_back(first)
    assert agent.tunnels.parked == 1


async def test_who_waits_first_is_served_first(agent: Agent) -> None:
    waiters = [waiting(agent) for _ in range(3)]
    await turn_over()
    parked = [agent.park() for _ in range(3)]
    assert [await waiter for waiter in waiters] == parked


async def test_a_wait_ends_with_a_sentence(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS_MAX", 0.01)
    with pytest.raises(LaneUnavailableError, match="not connected to this edge") as refused:
        await agent.tunnels.wait()
    assert refused.value.status == 503
    assert not agent.tunnels._waiting
    assert agent.park() is agent.tunnels.take(), "nobody waits for it any more"


async def test_no_more_than_256_wait(agent: Agent) -> None:
    waiters = [waiting(agent) for _ in range(256)]
    await turn_over()
    with pytest.raises(LaneUnavailableError, match="Too many") as refused:
        await agent.tunnels.wait()
    assert refused.value.status == 503
    for waiter in waiters:
        waiter.cancel()
    await asyncio.wait(waiters)
    assert not agent.tunnels._waiting


async def test_a_connection_handed_to_a_waiter_that_left_goes_to_the_next(agent: Agent) -> None:
    first, second = waiting(agent), waiting(agent)
    await turn_over()
    parked = agent.park()
    first.cancel()
    assert await second is parked
    with suppress(asyncio.CancelledError):
        await first


async def test_a_connection_handed_over_in_the_instant_of_giving_up_is_kept(agent: Agent) -> None:
    waiter = waiting(agent)
    await turn_over()
    connection = agent.park()
    waiter.cancel()  # what a time-out does, too
    await asyncio.wait([waiter])
    assert agent.tunnels.take() is connection


async def test_a_connection_that_broke_while_it_was_handed_over_is_not_used(agent: Agent) -> None:
    waiter = waiting(agent)
    await turn_over()
    bad = agent.park(early=b"garbage right behind the request")
    await turn_over()
    assert not bad.usable
    assert not waiter.done()
    good = agent.park()
    assert await waiter is good


@pytest.mark.parametrize("noise", [b"!", b"x", b"..x", b"HTTP/1.1 200 OK\r\n\r\n", b"\n"])
async def test_an_agent_that_speaks_unasked_is_cut_off(agent: Agent, noise: bytes) -> None:
    connection = agent.park()
    agent.ends[0].feed(noise)
    assert agent.ends[0].aborted
    assert agent.tunnels.take() is None
    await turn_over()
    assert agent.tunnels.open == 0
    assert not connection.usable


async def test_heartbeats_keep_a_connection_and_silence_ends_it(agent: Agent) -> None:
    agent.park()
    agent.park()
    now = asyncio.get_running_loop().time()
    for connection in agent.tunnels._idle:
        connection.heard_at = now - SILENT_SECONDS_MAX - 1
    agent.ends[1].feed(b".")
    agent.tunnels.sweep(now)
    assert [end.aborted for end in agent.ends] == [True, False]
    assert agent.tunnels.parked == 1
    agent.tunnels.sweep(now + SILENT_SECONDS_MAX + 1)
    assert agent.tunnels.parked == 0


async def test_heartbeats_on_the_wire_are_dropped_up_to_the_ack_at_every_split() -> None:
    request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n.!.."
    stream = b"..!" + response + b".."
    for cut in range(len(stream) + 1):
        agent, site = Agent(), FakeSite()
        agent.park()
        site.decision = partial(to_tunnel, agent, request)
        client = FakeTransport(Downstream(site))
        for _ in range(2):
            client.feed(request)
            agent.ends[0].feed(stream[:cut])
            agent.ends[0].feed(stream[cut:])
        assert agent.ends[0].sent == (b"GO\n" + request) * 2
        assert client.sent == response * 2, cut
        assert agent.tunnels.parked == 1


def to_tunnel(agent: Agent, request: bytes, _: RequestHead) -> Forward:
    return Forward(agent.tunnels, request, lambda head: head.headers)


async def test_a_busy_connection_is_never_ended_for_its_silence(agent: Agent) -> None:
    connection = agent.park()
    assert agent.tunnels.take() is connection
    agent.tunnels.sweep(asyncio.get_running_loop().time() + 10 * SILENT_SECONDS_MAX)
    assert connection.usable


async def test_a_newer_run_ends_the_older_s_parked_connections_and_no_busy_one(
    agent: Agent,
) -> None:
    agent.park()
    agent.park()
    busy = agent.tunnels.take()
    assert busy is not None
    newer = agent.park(run=2)
    assert [end.aborted for end in agent.ends] == [True, False, False]
    assert not agent.tunnels.admit(RunNumber(1))
    assert agent.tunnels.admit(RunNumber(2))
    agent.tunnels.give_back(busy)
    assert agent.ends[1].aborted, "it ends with its exchange"
    assert agent.tunnels.take() is newer
    assert agent.tunnels.open == 1


async def test_more_are_wanted_after_a_burst_and_told_as_soon_as_possible(agent: Agent) -> None:
    waiter = waiting(agent)
    await turn_over()
    assert agent.tunnels.wanted == 4
    connection = agent.park()
    await waiter
    assert b"WANT" not in agent.ends[0].sent
    agent.tunnels.give_back(connection)
    assert agent.ends[0].sent == b"WANT 4\n"
    agent.tunnels.sweep(asyncio.get_running_loop().time() + 61)
    await turn_over()
    assert agent.tunnels.wanted == 2


async def test_spare_connections_are_closed_a_few_at_a_time_once_they_are_idle(
    agent: Agent,
) -> None:
    for _ in range(20):
        agent.park()
    now = asyncio.get_running_loop().time()
    agent.tunnels.sweep(now + 5)
    assert agent.tunnels.parked == 20
    agent.tunnels.sweep(now + 11)
    assert agent.tunnels.parked == 12
    agent.tunnels.sweep(now + 12)
    agent.tunnels.sweep(now + 13)
    assert agent.tunnels.parked == 6, "two wanted, and four against to and fro"


async def test_draining_tells_parked_connections_and_ends_busy_ones_with_their_exchange(
    agent: Agent,
) -> None:
    agent.park()
    agent.park()
    busy = agent.tunnels.take()
    assert busy is not None
    agent.tunnels.drain()
    assert agent.ends[0].sent == b"DRAIN\n"
    assert agent.tunnels.take() is None
    assert not agent.ends[1].aborted
    agent.tunnels.give_back(busy)
    assert agent.ends[1].aborted


async def test_a_session_may_have_no_more_than_its_connections(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CONNECTIONS_MAX", 3)
    for _ in range(3):
        assert not agent.tunnels.full
        agent.park()
    assert agent.tunnels.full
    agent.ends[0].feed_eof()
    await turn_over()
    assert not agent.tunnels.full


async def test_the_tunnels_of_a_deleted_session_end() -> None:
    tunnels = Tunnels()
    session_id = SessionId("1234abcd")
    assert not tunnels.has(session_id)
    agent = Agent(tunnels.of(session_id))
    agent.park()
    assert tunnels.has(session_id)
    tunnels.forget(session_id)
    assert agent.ends[0].aborted
    assert not tunnels.has(session_id)
    tunnels.forget(session_id)
    assert list(tunnels) == []
