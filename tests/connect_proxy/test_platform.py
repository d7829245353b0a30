"""Nobody keeps others from the platform: not with slow bodies, nor with many connections."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from connect_proxy import platform, site
from connect_proxy.shares import Shares, holder
from tests.support.rig import DOMAIN, SESSION, Rig, running_rig, until
from tests.support.visits import status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.http1.lane import DialledLane


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path, agent=False) as running:
        yield running


def narrow(lane: DialledLane, connections_max: int) -> None:
    lane._connections_max = connections_max


def asking(rig: Rig, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> bytes:
    return rig.request(target, *fields, method=method, host=DOMAIN, cookie="", body=body)


def starting(rig: Rig, *fields: str, target: str = "/login") -> bytes:
    """A request whose body doesn't come."""
    return rig.request(target, *fields, method="POST", host=DOMAIN, cookie="", last=False) + b"x"


async def test_clients_that_send_one_byte_hold_no_connection_to_the_platform(rig: Rig) -> None:
    narrow(rig.edge.platform.people, 4)
    writers = []
    for _ in range(20):
        _, writer = await rig.connect()
        writer.write(starting(rig, "Content-Length: 1000"))
        writers.append(writer)
    await until(lambda: rig.edge.platform.of_clients._held[""] == 20)
    assert status(await rig.ask(asking(rig, "/login", method="POST", body=b"a=b"))) == 200
    for writer in writers:
        writer.close()
    await until(lambda: not len(rig.edge.platform.of_clients), what="all are given back")


async def test_a_short_body_arrives_at_the_platform_whole_however_it_was_cut(rig: Rig) -> None:
    raw = asking(rig, "/api/x", method="POST", body=b"abc" * 1000)
    for cut in (20, len(raw) - 3000, len(raw) - 2999, len(raw) - 1):
        reader, writer = await rig.connect()
        writer.write(raw[:cut])
        await until(lambda: rig.edge.listener.connections)
        writer.write(raw[cut:])
        async with asyncio.timeout(5):
            assert status(await reader.read(-1)) == 200
        writer.close()


@pytest.mark.parametrize("framing", ["Transfer-Encoding: chunked", "Content-Length: 70000"])
async def test_long_bodies_share_a_few_connections_of_their_own(rig: Rig, framing: str) -> None:
    narrow(rig.edge.platform.long_bodies, 2)
    writers = []
    for number in range(2):
        _, writer = await rig.connect()
        first = b"1\r\nx\r\n" if "chunked" in framing else b""
        writer.write(starting(rig, framing)[:-1] + first)
        writers.append(writer)
        await until(lambda n=number + 1: len(rig.edge.platform.long_bodies._open) == n)  # type: ignore[misc]
    refused = asking(rig, "/api/x", method="POST", body=b"y" * 70_000)
    assert status(await rig.ask(refused)) == 503
    assert status(await rig.ask(asking(rig, "/api/x", method="POST", body=b"y"))) == 200
    for writer in writers:
        writer.close()


@pytest.mark.parametrize("framing", ["Content-Length: 1000", "Content-Length: 70000"])
async def test_a_body_to_the_platform_has_little_time(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, framing: str
) -> None:
    for name in ("_SHORT", "_LONG"):
        patience = replace(getattr(platform, name), silent_seconds_max=5.0, seconds_max=0.01)
        monkeypatch.setattr(platform, name, patience)
    response = await rig.ask(starting(rig, framing))
    assert status(response) == 408
    assert b"in time" in response
    assert platform._SHORT.gather
    assert platform.BODY_SILENT_SECONDS_MAX <= 10
    assert platform.BODY_SECONDS_MAX <= 60


async def test_agents_get_through_when_people_do_not(rig: Rig) -> None:
    for lane in (rig.edge.platform.people, rig.edge.platform.long_bodies):
        narrow(lane, 0)
    assert status(await rig.ask(asking(rig, "/"))) == 503
    bearer = f"Authorization: Bearer {rig.platform.agent_token(SESSION)}"
    assert status(await rig.ask(asking(rig, "/api/agent/v1/desired", bearer))) == 200
    assert status(await rig.ask(asking(rig, "/api/agent/v1/desired"))) == 503, "proven ones only"
    forged = bearer[:-8] + "AAAAAAAA"
    assert status(await rig.ask(asking(rig, "/api/agent/v1/desired", forged))) == 503
    assert status(await rig.ask(asking(rig, "/api/studios", bearer))) == 503


async def test_one_agent_cannot_hold_all_of_the_agents_connections(rig: Rig) -> None:
    rig.edge.platform.of_programs = Shares(2)
    token = f"Authorization: Bearer {rig.platform.agent_token(SESSION)}"
    writers = []
    for _ in range(2):
        _, writer = await rig.connect()
        writer.write(starting(rig, token, "Content-Length: 9", target="/api/agent/v1/status"))
        writers.append(writer)
    await until(lambda: rig.edge.platform.of_programs._held[f"agent {SESSION}"] == 2)
    assert status(await rig.ask(asking(rig, "/api/agent/v1/desired", token))) == 503
    for writer in writers:
        writer.close()
    await until(lambda: not len(rig.edge.platform.of_programs))
    assert status(await rig.ask(asking(rig, "/api/agent/v1/desired", token))) == 200


async def test_one_address_has_a_limit_of_exchanges_and_of_connections(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "holder", lambda address: address)
    monkeypatch.setattr(platform, "holder", lambda address: address)
    await until(lambda: not rig.edge.listener.connections)
    rig.edge.platform.of_clients = Shares(1)
    rig.edge.site._of_clients = Shares(3)
    _, first = await rig.connect()
    first.write(starting(rig, "Content-Length: 9"))
    await until(lambda: rig.edge.platform.of_clients._held)
    refused = await rig.ask(asking(rig, "/"))
    assert status(refused) == 503
    assert b"from your address" in refused
    idle = [(await rig.connect())[1] for _ in range(2)]
    turned_away = await rig.ask(b"")
    assert status(turned_away) == 503
    assert b"Too many connections" in turned_away
    for writer in (first, *idle):
        writer.close()
    await until(lambda: not rig.edge.listener.connections)
    assert not len(rig.edge.site._of_clients)
    assert not rig.edge.site._crowd
    assert status(await rig.ask(asking(rig, "/"))) == 200


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("127.0.0.1", ""),
        ("::1", ""),
        ("::ffff:127.0.0.1", ""),
        ("", ""),
    ],
)
def test_who_an_address_stands_for(address: str, name: str) -> None:
    assert holder(address) == name
