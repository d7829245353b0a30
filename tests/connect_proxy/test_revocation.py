"""Rights that change while somebody is connected."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from tests.support.rig import SESSION, ReservedStub, Rig, read_head, running_rig, until
from tests.support.visits import (
    FETCH,
    NAVIGATION,
    field,
    open_websocket,
    status,
    switching,
    websocket,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


# ── renewal and revocation ──────────────────────────────────────────────────────


async def test_a_raised_access_version_asks_again_and_the_answer_decides(rig: Rig) -> None:
    ada, bob = rig.cookie(user=7), rig.cookie(user=8)
    rig.platform.refused[8] = "Ask ada."
    rig.platform.add(SESSION, access_version=2)
    await until(lambda: rig.edge.directory.get(SESSION).access_version == 2)  # type: ignore[union-attr]
    response = await rig.ask(rig.request(cookie=ada))
    assert status(response) == 200
    fresh = field(response, "Set-Cookie").partition(";")[0]
    assert fresh.startswith("studio-connect=")
    assert fresh != ada
    assert field(await rig.ask(rig.request(cookie=fresh)), "Set-Cookie") == ""
    assert status(await rig.ask(rig.request(cookie=bob))) == 403
    rig.platform.gone.add(7)
    rig.platform.add(SESSION, access_version=3)
    await until(lambda: rig.edge.directory.get(SESSION).access_version == 3)  # type: ignore[union-attr]
    assert status(await rig.ask(rig.request("/", *FETCH, cookie=fresh))) == 401
    assert status(await rig.ask(rig.request("/", *NAVIGATION, cookie=fresh))) == 302
    assert status(await rig.ask(rig.request("/", *FETCH, cookie=ada))) == 401, "nor the older one"


async def test_open_websockets_of_who_lost_access_end_and_no_others(tmp_path: Path) -> None:
    async with running_rig(tmp_path, switching) as rig:
        reader, writer = await open_websocket(rig, rig.cookie(user=7))
        gone, gone_writer = await open_websocket(rig, rig.cookie(user=8))
        refused, refused_writer = await open_websocket(rig, rig.cookie(user=9))
        rig.platform.gone.add(8)
        rig.platform.refused[9] = "Ask ada."
        rig.platform.add(SESSION, access_version=2)
        async with asyncio.timeout(5):
            for ended in (gone, refused):
                with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                    await ended.readexactly(1)
        writer.write(b"still here")
        assert await reader.readexactly(10) == b"still here"
        await until(lambda: rig.edge.presence.websockets == 1)
        for each in (writer, gone_writer, refused_writer):
            each.close()
        await until(lambda: rig.edge.presence.websockets == 0)


async def test_a_response_in_progress_ends_for_who_lost_access(tmp_path: Path) -> None:
    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        await reader.read(-1)

    async with running_rig(tmp_path, events) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/events", cookie=rig.cookie(user=8)))
        await reader.readuntil(b"data: 1\n\n")
        other, other_writer = await rig.connect()
        other_writer.write(rig.request("/events", cookie=rig.cookie(user=7)))
        await other.readuntil(b"data: 1\n\n")
        rig.platform.gone.add(8)
        rig.platform.add(SESSION, access_version=2)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        assert not other.at_eof()
        writer.close()
        other_writer.close()


async def test_a_websocket_that_was_opening_when_access_was_lost_ends_too(tmp_path: Path) -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        asked.set()
        await answer.wait()
        writer.write(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        await reader.read(-1)

    async with running_rig(tmp_path, slow) as rig:
        reader, writer = await rig.connect()
        writer.write(websocket(rig, cookie=rig.cookie(user=8)))
        await asked.wait()
        rig.platform.gone.add(8)
        rig.platform.add(SESSION, access_version=2)
        await until(lambda: rig.edge.directory.get(SESSION).access_version == 2)  # type: ignore[union-attr]
        answer.set()
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                await reader.read(-1)
        assert rig.edge.presence.websockets == 0
        writer.close()


async def test_websockets_end_with_their_session(tmp_path: Path) -> None:
    async with running_rig(tmp_path, switching) as rig:
        reader, writer = await open_websocket(rig)
        rig.platform.remove(SESSION)
        async with asyncio.timeout(5):
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
        writer.close()


async def test_while_the_control_plane_is_away_valid_cookies_go_on_and_stale_ones_wait(
    rig: Rig,
) -> None:
    fresh, stale = rig.cookie(), rig.cookie(user=8)
    assert status(await rig.ask(rig.request(cookie=fresh))) == 200
    rig.platform.down = True
    assert status(await rig.ask(rig.request(cookie=fresh))) == 200
    aged = f"studio-connect={rig.platform.connect_token(SESSION, age=3000)}"
    response = await rig.ask(rig.request(cookie=aged))
    assert status(response) == 200
    assert field(response, "Set-Cookie") == "", "there is no newer one to give"
    rig.platform.add(SESSION, access_version=2)
    await until(lambda: rig.edge.directory.get(SESSION).access_version == 2)  # type: ignore[union-attr]
    response = await rig.ask(rig.request("/", *FETCH, cookie=stale))
    assert status(response) == 503
    assert b"can't be checked right now" in response
    await rig.platform.cut_feeds()
    assert status(await rig.ask(rig.request("/", *FETCH, cookie=stale))) == 503
    rig.platform.down = False
    assert status(await rig.ask(rig.request(cookie=stale))) == 200


async def test_an_aged_cookie_is_renewed_on_the_way(rig: Rig) -> None:
    aged = f"studio-connect={rig.platform.connect_token(SESSION, age=3000)}"
    response = await rig.ask(rig.request(cookie=aged))
    assert status(response) == 200
    assert "studio-connect=" in field(response, "Set-Cookie")
    young = f"studio-connect={rig.platform.connect_token(SESSION, age=100)}"
    assert field(await rig.ask(rig.request(cookie=young)), "Set-Cookie") == ""


async def test_a_page_full_of_requests_renews_its_cookie_once(rig: Rig) -> None:
    aged = f"studio-connect={rig.platform.connect_token(SESSION, age=3000)}"
    async with asyncio.TaskGroup() as group:
        asks = [group.create_task(rig.ask(rig.request(cookie=aged))) for _ in range(20)]
    assert all(status(ask.result()) == 200 for ask in asks)
    assert sum("renew" in line for line in rig.platform.requests) == 1


async def test_a_log_that_a_person_follows_ends_when_access_changes(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = asyncio.Event()

    async def lines(self: object) -> AsyncIterator[bytes]:
        yield b"line\n"
        await more.wait()

    monkeypatch.setattr(ReservedStub, "_lines", lines)
    own = rig.platform.studio_token(SESSION, "log")
    theirs = rig.platform.studio_token(SESSION, "log", sub="7")
    follows = []
    for token in (own, theirs):
        reader, writer = await rig.connect()
        fields = f"Authorization: Bearer {token}"
        writer.write(rig.request("/.studio/log?follow=1", fields, cookie="", last=False))
        await reader.readuntil(b"line\n")
        follows.append((reader, writer))
    rig.platform.add(SESSION, access_version=2)
    async with asyncio.timeout(5):
        rest = await follows[1][0].read(-1)
    assert b"0\r\n\r\n" not in rest, "cut short"
    assert not follows[0][0].at_eof(), "the platform's own goes on"
    more.set()
    for _, writer in follows:
        writer.close()
