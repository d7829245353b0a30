"""What clients make up costs the edge no memory, no log, and nobody else their way in."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from common.ids import SessionId
from connect_proxy import refusals, rewrite, tunnels
from tests.support.rig import DOMAIN, SESSION, Rig, running_rig, until
from tests.support.visits import NAVIGATION, field, open_websocket, status, switching

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOWHERE = SessionId("0badcafe")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path, agent=False) as running:
        yield running


async def test_a_host_longer_than_any_name_is_neither_kept_nor_logged_whole(rig: Rig) -> None:
    with capture_logs() as lines:
        for length in (262, 60_000):
            response = await rig.ask(rig.request(host="x" * length, cookie=""))
            assert status(response) == 421
    assert rig.edge.site._route.cache_info().currsize == 0
    refused = [line for line in lines if line["event"] == "refused"]
    assert [len(line["host"]) for line in refused] == [200, 200]


async def test_a_flood_of_refusals_is_counted_rather_than_logged(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LINES_PER_SECOND_MAX", 5)
    raw = rig.request(host="nowhere", cookie="", last=False) * 300 + rig.request(host="nowhere")
    with capture_logs() as lines:
        before = asyncio.get_running_loop().time()
        await rig.ask(raw)
        seconds = int(asyncio.get_running_loop().time()) - int(before) + 1
        rig.edge.site._refusals._second = 0
        await rig.ask(rig.request(host="nowhere"))
    events = [line["event"] for line in lines]
    assert events.count("refused") <= 5 * seconds + 1
    unsaid = sum(line["count"] for line in lines if line["event"] == "refusals_not_logged")
    assert unsaid + events.count("refused") == 302
    assert rig.edge.counters.refused["unknown_host"] == 302


async def test_an_agent_of_a_session_that_is_gone_parks_nothing(rig: Rig) -> None:
    raw = rig.request(
        "/_connect/tunnel",
        "Connection: Upgrade",
        "Upgrade: studio-tunnel/1",
        f"Authorization: Bearer {rig.platform.agent_token(NOWHERE)}",
        cookie="",
        last=False,
    ).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    assert status(await rig.ask(raw)) == 404
    assert NOWHERE not in rig.edge.tunnels._sessions


async def test_tunnels_that_nobody_uses_are_forgotten(tmp_path: Path) -> None:
    async with running_rig(tmp_path) as rig:
        rig.edge.tunnels.of(NOWHERE)
        now = asyncio.get_running_loop().time()
        for after in (1.0, tunnels._UNUSED_SECONDS - 1, tunnels._UNUSED_SECONDS + 2):
            assert NOWHERE in rig.edge.tunnels._sessions
            for session in rig.parked._idle:
                session.heard_at = now + after
            rig.edge.tunnels.sweep(now + after)
        assert set(rig.edge.tunnels._sessions) == {SESSION}


def platform_cookies(*fields: bytes) -> bytes:
    return rewrite._page_cookies(list(fields))


def test_only_its_own_cookies_go_to_the_platform() -> None:
    planted = b"; ".join(b"c%d=%b" % (n, b"x" * 400) for n in range(20))
    assert platform_cookies(planted, b"a=b; studio-page=s1;studio-pagex=1") == b"studio-page=s1"
    assert platform_cookies(b"__Host-studio-page=s1") == b"__Host-studio-page=s1"
    assert platform_cookies(b"studio-page=" + b"x" * 4000, b"studio-page=s1") == b"studio-page=s1"
    many = b"; ".join(b"studio-page=%b" % (b"x" * 400) for _ in range(50))
    assert len(platform_cookies(many)) < 4096


async def test_planted_cookies_lock_nobody_out_of_the_platform(rig: Rig) -> None:
    planted = "; ".join(f"c{n}={secrets.token_hex(200)}" for n in range(30))
    raw = rig.request("/", *NAVIGATION, host=DOMAIN, cookie=planted)
    assert status(await rig.ask(raw)) == 200


async def test_a_sibling_cannot_put_the_edges_own_pages_in_a_frame(rig: Rig) -> None:
    response = await rig.ask(rig.request("/_connect/nothing", *NAVIGATION, cookie=""))
    assert status(response) == 404
    assert "frame-ancestors 'self'" in field(response, "Content-Security-Policy")


async def test_joined_websockets_end_with_the_edge(tmp_path: Path) -> None:
    async with running_rig(tmp_path, switching) as rig:
        reader, writer = await open_websocket(rig)
        await until(lambda: rig.edge.presence.websockets == 1)
        await rig.edge.close()
        async with asyncio.timeout(5):
            assert await reader.read(-1) == b""
        await until(lambda: rig.edge.presence.websockets == 0)
        writer.close()
