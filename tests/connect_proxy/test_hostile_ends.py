"""What a hostile tool or agent gets: itself into trouble, and nobody else."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.rig import OTHER, SESSION, Rig, read_head, running_rig, until
from tests.support.visits import NAVIGATION, own_origin, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


# ── tools ────────────────────────────────────────────────────────────────────

BAD_ANSWERS = {
    "garbage": b"\x00\x01\x02garbage\r\n\r\n",
    "a greeting": b"220 smtp.example ESMTP\r\n\r\n",
    "an endless head": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    "one endless line": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
    "a split field": b"HTTP/1.1 200 OK\r\nLocation: /\nSet-Cookie: a=b\r\n\r\n",
    "a split field by CR": b"HTTP/1.1 200 OK\r\nLocation: /\rSet-Cookie: a=b\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "both framings": b"HTTP/1.1 200 X\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
    "an unasked switch": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\nraw",
    "a tunnel's ack": b"!HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of 99": b"HTTP/1.1 099 X\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("bad", BAD_ANSWERS.values(), ids=BAD_ANSWERS.keys())
async def test_a_tool_that_answers_badly_gives_502_and_harms_nobody(
    tmp_path: Path, bad: bytes
) -> None:
    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        writer.write(OK if b"GET /good" in head else bad)
        with suppress(ConnectionError):
            await writer.drain()

    async with running_rig(tmp_path, tool) as rig:
        for _ in range(3):
            response = await rig.get("/bad", *NAVIGATION)
            assert status(response) == 502
            assert b"Set-Cookie" not in response
            assert status(await rig.get("/good")) == 200
        assert rig.agents[0].link.connected


async def test_a_tool_s_second_answer_is_nobody_s(tmp_path: Path) -> None:
    """Response splitting across people: the surplus must not answer the next request."""
    evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await read_head(reader):
            writer.write(OK)
            if b"/twice" in head:
                writer.write(evil)
                await writer.drain()

    async with running_rig(tmp_path, tool) as rig:
        for _ in range(20):
            assert (await rig.get("/twice")).endswith(b"ok")
            assert (await rig.get("/")).endswith(b"ok")
        reader, writer = await rig.connect()
        for _ in range(5):
            writer.write(rig.request("/twice", last=False))
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert await reader.readexactly(2) == b"ok"
        writer.close()


async def test_a_tool_that_never_answers_is_waited_for_and_let_go(tmp_path: Path) -> None:
    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(-1)

    async with running_rig(tmp_path, tool) as rig:
        _, writer = await rig.connect()
        writer.write(rig.request("/"))
        await until(lambda: rig.tool_writers)
        now = asyncio.get_running_loop().time()
        rig.edge.listener.sweep(now + 3600)
        rig.parked.sweep(now + 30)
        assert rig.tool_writers, "a long computation is no reason to give up"
        writer.transport.abort()
        await until(lambda: not rig.tool_writers)


async def test_a_person_s_name_can_not_become_a_field_of_the_request(rig: Rig) -> None:
    rig.platform.names[7] = "eve\r\nX-Connect-Sub: 1\r\n\r\nGET /smuggled HTTP/1.1\u560d\u560a"
    response = await rig.ask(rig.request(cookie=rig.cookie(user=7)))
    assert status(response) == 200
    assert response.count(b"X-Connect-Sub: 7\r\n") == 1
    assert b"\r\nX-Connect-Sub: 1" not in response


# ── agents ───────────────────────────────────────────────────────────────────

AGENT_ANSWERS = {
    "another ack": b"#HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "no ack": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    "garbage": b"!\x00garbage\r\n\r\n",
    "garbage before the ack": b"x!HTTP/1.1 200 OK\r\n\r\n",
    "an endless head": b"!HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
    "heartbeats and an end": b"." * 1000,
    "an unasked switch": b"!HTTP/1.1 101 X\r\n\r\nraw",
    "surplus": b"!HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!HTTP/1.1 200 OK\r\n\r\nevil",
    "half a body": b"!HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", AGENT_ANSWERS.values(), ids=AGENT_ANSWERS.keys())
async def test_an_agent_that_speaks_garbage_harms_its_own_session_only(
    tmp_path: Path, answer: bytes
) -> None:
    async with running_rig(tmp_path, agent=False) as rig:
        await rig.start_agent(OTHER)
        mad = []
        for _ in range(4):
            reader, writer = await rig.connect()
            bearer = f"Authorization: Bearer {rig.platform.agent_token(SESSION)}"
            upgrade = ("Connection: Upgrade", "Upgrade: studio-tunnel/1", bearer)
            writer.write(rig.request("/_connect/tunnel", *upgrade, cookie="", last=False))
            assert status(await read_head(reader)) == 101
            mad.append((reader, writer))

        async def be_mad(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if await read_head(reader):
                writer.write(answer)
                with suppress(ConnectionError):
                    await writer.drain()
                writer.close()

        async with asyncio.TaskGroup() as group:
            for end in mad:
                group.create_task(be_mad(*end))
            for _ in range(2):
                raw = rig.request("/", own_origin(rig), method="POST", body=b"x")
                response = await rig.ask(raw)
                assert b"evil" not in response
                assert b"raw" not in response
                good = answer == AGENT_ANSWERS["surplus"]
                cut = answer == AGENT_ANSWERS["half a body"]
                assert status(response) == (200 if good or cut else 502)
            for _, writer in mad:
                writer.transport.abort()
        for _ in range(3):
            other = rig.request(host=rig.platform.host(OTHER), cookie=rig.cookie(OTHER))
            assert status(await rig.ask(other)) == 200


async def test_an_agent_that_breaks_off_while_a_request_waits_for_it_ends_no_edge(
    tmp_path: Path,
) -> None:
    async with running_rig(tmp_path, agent=False) as rig:
        loop = asyncio.get_running_loop()
        asks = [loop.create_task(rig.get()) for _ in range(3)]
        await until(lambda: len(rig.parked._waiting) == 3)
        bearer = f"Authorization: Bearer {rig.platform.agent_token(SESSION)}"
        upgrade = ("Connection: Upgrade", "Upgrade: studio-tunnel/1", bearer)
        for _ in range(10):
            raw = rig.request("/_connect/tunnel", *upgrade, cookie="", last=False)
            _, writer = await rig.connect()
            writer.write(raw + b"garbage right behind")
            await writer.drain()
            writer.close()
        await rig.start_agent()
        for ask in asks:
            assert status(await ask) == 200


async def test_a_token_for_one_session_parks_nothing_at_another(rig: Rig) -> None:
    bearer = f"Authorization: Bearer {rig.platform.agent_token(OTHER)}"
    upgrade = ("Connection: Upgrade", "Upgrade: studio-tunnel/1", bearer)
    before = rig.parked.open
    reader, writer = await rig.connect()
    writer.write(rig.request("/_connect/tunnel", *upgrade, cookie="", last=False))
    assert status(await read_head(reader)) == 101, "its host says nothing, its token does"
    assert rig.parked.open == before
    assert rig.edge.tunnels.of(OTHER).open == 1
    writer.close()
