"""Tools, agents, edges and control planes that fail: what people see, and how it heals."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from connect_proxy import tunnels
from connect_proxy.parked import SILENT_SECONDS_MAX
from tests.support.rig import OTHER, SESSION, Rig, read_head, running_rig, until
from tests.support.visits import NAVIGATION, field, first_head, own_origin, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.rig import ToolHandler

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


def dialling(rig: Rig, token: str) -> bytes:
    """What an agent sends to park a connection."""
    upgrade = ("Connection: Upgrade", "Upgrade: studio-tunnel/1", f"Authorization: Bearer {token}")
    return rig.request("/_connect/tunnel", *upgrade, cookie="", last=False)


def serves_once(served: list[bytes]) -> ToolHandler:
    """A tool that promises to keep its connections and closes them when the next request comes."""

    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(await read_head(reader))
        writer.write(OK)
        await read_head(reader)

    return tool


# ── the tool ─────────────────────────────────────────────────────────────────


async def test_a_stale_connection_to_the_tool_is_not_seen_by_who_reads(tmp_path: Path) -> None:
    served: list[bytes] = []
    async with running_rig(tmp_path, serves_once(served)) as rig:
        for _ in range(6):
            assert status(await rig.get()) == 200
        assert len(served) == 6


async def test_a_request_that_may_have_been_carried_out_is_not_carried_out_again(
    tmp_path: Path,
) -> None:
    served: list[bytes] = []
    async with running_rig(tmp_path, serves_once(served)) as rig:
        assert status(await rig.get()) == 200
        posted = rig.request("/", own_origin(rig), method="POST", body=b"pay")
        response = await rig.ask(posted)
        assert status(response) == 502
        assert b"failed: it closed" in response
        assert [head[:4] for head in served] == [b"GET "]
        assert status(await rig.ask(posted)) == 200


async def test_a_tool_that_is_down_is_said_in_a_sentence(tmp_path: Path) -> None:
    async with running_rig(tmp_path, agent=False) as rig:
        rig.tool_port = 1
        await rig.start_agent()
        page = await rig.get("/", *NAVIGATION)
        assert status(page) == 502
        assert b"The tool does not accept connections" in page
        assert field(page, "Content-Type").startswith("text/html")
        data = await rig.get("/")
        assert status(data) == 502
        assert field(data, "Content-Type") == "application/json"


async def test_until_the_tool_answers_there_is_a_page_that_waits(rig: Rig) -> None:
    rig.agents[0].ready = False
    page = await rig.get("/", *NAVIGATION)
    assert status(page) == 503
    assert b'http-equiv="refresh"' in page
    assert b"The tool is starting." in page
    assert field(await rig.get("/"), "Retry-After") == "1"
    rig.agents[0].ready = True
    assert status(await rig.get()) == 200
    rig.agents[0].gateway.refuse_new()
    assert status(await rig.get("/", *NAVIGATION)) == 503
    token = rig.platform.studio_token(SESSION, "health")
    own = rig.request("/.studio/health", f"Authorization: Bearer {token}", cookie="")
    assert status(await rig.ask(own)) == 200, "the agent's own pages stay"


@pytest.mark.parametrize("state", ["stopped", "stopping", "building", "buildFailed", "errored"])
async def test_a_session_that_does_not_run_says_so(rig: Rig, state: str) -> None:
    rig.platform.add(SESSION, status=state, message="Because <b>.")
    await until(lambda: rig.edge.directory.get(SESSION).status == state)  # type: ignore[union-attr]
    page = await rig.get("/", *NAVIGATION)
    assert status(page) == 503
    assert f"demo: {state}".encode() in page
    assert b"Because &lt;b&gt;." in page
    data = await rig.get("/")
    assert status(data) == 503
    assert int(field(data, "Retry-After")) >= 1


# ── the tunnel ───────────────────────────────────────────────────────────────


async def test_without_a_tunnel_a_request_waits_a_limited_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "WAIT_SECONDS_MAX", 0.1)
    await rig.agents[0].stop()
    await until(lambda: rig.parked.open == 0)
    response = await rig.get()
    assert status(response) == 503
    assert b"not connected to this edge" in response


async def test_a_request_that_waits_is_served_by_an_agent_that_comes(tmp_path: Path) -> None:
    async with running_rig(tmp_path, agent=False) as rig:
        asking = asyncio.get_running_loop().create_task(rig.get())
        await until(lambda: rig.parked._waiting)
        await rig.start_agent()
        assert status(await asking) == 200


async def test_more_requests_than_may_wait_get_503_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "_WAITING_MAX", 5)
    async with running_rig(tmp_path, agent=False) as rig:
        loop = asyncio.get_running_loop()
        asks = [loop.create_task(rig.get()) for _ in range(8)]
        await until(lambda: sum(ask.done() for ask in asks) == 3)
        assert all(b"Too many requests wait" in ask.result() for ask in asks if ask.done())
        await rig.start_agent()
        assert sorted([status(await ask) for ask in asks]) == [200] * 5 + [503] * 3


async def test_a_burst_makes_the_agent_park_more(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await read_head(reader):
            await go_on.wait()
            writer.write(OK)

    async with running_rig(tmp_path, slow) as rig:
        loop = asyncio.get_running_loop()
        asks = [loop.create_task(rig.get()) for _ in range(60)]
        await until(lambda: rig.agents[0].link.status().busy == 60)
        assert rig.parked.wanted > 2
        go_on.set()
        for ask in asks:
            assert status(await ask) == 200
        wanted = rig.parked.wanted
        await until(lambda: rig.agents[0].link._wanted == wanted, what="WANT arrived")
        await until(lambda: rig.parked.parked >= wanted)


async def test_a_silent_parked_connection_is_closed_and_replaced(rig: Rig) -> None:
    old = list(rig.parked._idle)
    rig.parked.sweep(asyncio.get_running_loop().time() + SILENT_SECONDS_MAX + 1)
    assert not any(connection.usable for connection in old)
    await until(lambda: rig.parked.parked >= 2)
    assert status(await rig.get()) == 200


async def test_an_older_run_is_refused_and_a_newer_one_takes_over(rig: Rig) -> None:
    first = rig.agents[0]
    second = await rig.start_agent(run=2)
    await until(lambda: not first.link._parked)
    assert status(await rig.get()) == 200
    assert second.gateway.requests == 1
    tunnelling = dialling(rig, rig.platform.agent_token(SESSION, run=1))
    assert status(await first_head(rig, tunnelling)) == 409
    await until(lambda: "409" in first.link.status().message)
    assert first.link._pause_seconds == 60.0


async def test_a_run_the_control_plane_has_left_behind_is_refused(rig: Rig) -> None:
    rig.platform.add(SESSION, run_number=5)
    await until(lambda: rig.edge.directory.get(SESSION).run_number == 5)  # type: ignore[union-attr]
    tunnelling = dialling(rig, rig.platform.agent_token(SESSION, run=4))
    assert status(await first_head(rig, tunnelling)) == 409


async def test_what_is_no_tunnel_is_refused_with_what_to_do(rig: Rig) -> None:
    bearer = f"Authorization: Bearer {rig.platform.agent_token(SESSION)}"
    cases = [
        (426, ("Connection: Upgrade", "Upgrade: studio-tunnel/2", bearer)),
        (426, (bearer,)),
        (401, ("Connection: Upgrade", "Upgrade: studio-tunnel/1")),
        (401, ("Connection: Upgrade", "Upgrade: studio-tunnel/1", f"{bearer[:-5]}AAAAA")),
        (401, ("Connection: Upgrade", "Upgrade: studio-tunnel/1", "Authorization: Basic eA==")),
    ]
    for expected, fields in cases:
        head = await first_head(rig, rig.request("/_connect/tunnel", *fields, last=False))
        assert status(head) == expected
        if expected == 426:
            assert field(head, "Upgrade") == "studio-tunnel/1"


async def test_a_session_with_too_many_tunnels_is_told_when_to_come_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnels, "CONNECTIONS_MAX", 2)
    tunnelling = dialling(rig, rig.platform.agent_token(SESSION))
    head = await first_head(rig, tunnelling)
    assert status(head) == 503
    assert int(field(head, "Retry-After")) > 0
    other = dialling(rig, rig.platform.agent_token(OTHER))
    assert status(await first_head(rig, other)) == 101, "others are not concerned"


# ── the edge ─────────────────────────────────────────────────────────────────


async def test_after_an_edge_was_restarted_the_agent_parks_again(rig: Rig) -> None:
    assert status(await rig.get()) == 200
    await rig.restart_edge()
    await until(lambda: rig.parked.parked >= 2)
    assert status(await rig.get()) == 200
    assert rig.agents[0].link.connected


async def test_an_edge_that_drains_ends_what_is_under_way_and_sends_agents_off(
    tmp_path: Path,
) -> None:
    go_on = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        await go_on.wait()
        writer.write(OK)

    async with running_rig(tmp_path, slow) as rig:
        idle_reader, idle_writer = await rig.connect()
        idle_writer.write(b"")
        asking = asyncio.get_running_loop().create_task(rig.get())
        link = rig.agents[0].link
        await until(lambda: link.status().busy == 1 and link.status().parked == 2)
        draining = asyncio.get_running_loop().create_task(rig.edge.drain())
        await until(lambda: link.status().parked == 0)
        assert await idle_reader.read(-1) == b"", "a connection without a request is closed"
        with pytest.raises(ConnectionError):
            await rig.connect()
        assert not draining.done()
        go_on.set()
        assert status(await asking) == 200
        await draining
        idle_writer.close()


async def test_the_copy_of_sessions_survives_the_feed(rig: Rig) -> None:
    rig.platform.down = True
    await rig.platform.cut_feeds()
    await until(lambda: not rig.edge.control_plane.feed_alive)
    assert status(await rig.get()) == 200
    rig.platform.add(OTHER, status="stopped")
    rig.platform.down = False
    await until(lambda: rig.edge.control_plane.feed_alive)
    found = rig.edge.directory.get(OTHER)
    assert found is not None
    assert found.status == "stopped"


async def test_the_platform_s_page_is_reached_through_the_edge(rig: Rig) -> None:
    host = rig.platform.domain
    assert (await rig.ask(rig.request("/x?y=1", host=host))).endswith(b"platform GET /x?y=1")
    posted = rig.request("/login", host=host, method="POST", body=b"a=1")
    assert (await rig.ask(posted)).endswith(b"platform POST /login")
    await rig.platform.stop()
    gone = await rig.ask(rig.request("/x", *NAVIGATION, host=host))
    assert status(gone) == 502
    assert b"The platform does not accept connections" in gone
