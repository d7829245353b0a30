"""What a hostile client gets: refused, held back or ended, with no harm to others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.http1.head import HEAD_BYTES_MAX
from tests.support.rig import OTHER, Rig, hello, read_head, running_rig, until
from tests.support.visits import field, own_origin, status

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


async def bodies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A tool that understands both framings and tells, for each request, what it saw."""
    while head := await read_head(reader):
        body = b""
        if length := field(head, "Content-Length"):
            body = await reader.readexactly(int(length))
        elif field(head, "Transfer-Encoding"):
            while size := int((line := await reader.readline()).strip(), 16):
                body += line + await reader.readexactly(size + 2)
            body += line
            while (line := await reader.readline()) != b"\r\n":
                body += line
        saw = head.partition(b"\r\n")[0] + b"|" + body
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(saw), saw))


# ── clients ──────────────────────────────────────────────────────────────────

PREFIX = "POST / HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nOrigin: http://{host}\r\n"
SMUGGLED = "GET /smuggled HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n\r\n"
SMUGGLING = {
    "CL.TE": "Content-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE.CL": "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5c\r\n",
    "TE.TE": "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n0\r\n\r\n",
    "TE xchunked": "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "TE with tab": "Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n",
    "TE folded": "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "TE list": "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\n",
    "TE bare LF": "X: y\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "TE after CR": "X: y\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two CLs": "Content-Length: 0\r\nContent-Length: 40\r\n\r\n",
    "CL list": "Content-Length: 0, 40\r\n\r\n",
    "CL plus": "Content-Length: +0\r\n\r\n",
    "CL folded": "Content-Length: 0\r\n 0\r\n\r\n",
    "chunk extension": "Transfer-Encoding: chunked\r\n\r\n0;x=\n\r\n\r\n",
    "chunk bare LF": "Transfer-Encoding: chunked\r\n\r\n0\n\n",
    "chunk space": "Transfer-Encoding: chunked\r\n\r\n0 \r\n\r\n",
    "chunk overflow": "Transfer-Encoding: chunked\r\n\r\n100000000000000000\r\n\r\n",
    "chunk longer than said": "Transfer-Encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
}


@pytest.mark.parametrize("how", SMUGGLING)
async def test_no_request_is_smuggled_past_the_edge(tmp_path: Path, how: str) -> None:
    async with running_rig(tmp_path, bodies) as rig:
        host, cookie = rig.host, rig.cookie()
        raw = (PREFIX + SMUGGLING[how] + SMUGGLED).format(host=host, cookie=cookie).encode()
        response = await rig.ask(raw)
        assert status(response) in (400, 501)
        assert response.count(b"HTTP/1.1 ") == 1, "nothing behind it is answered"
        assert b"smuggled" not in response
        assert status(await rig.get()) == 200


async def test_bodies_that_look_like_requests_stay_bodies(tmp_path: Path) -> None:
    async with running_rig(tmp_path, bodies) as rig:
        inner = SMUGGLED.format(host=rig.host, cookie="x").encode()
        reader, writer = await rig.connect()
        chunk = b"%x\r\n%b\r\n0\r\nX-Smuggled: 1\r\n\r\n" % (len(inner), inner)
        origin = own_origin(rig)
        writer.write(rig.request("/1", origin, method="POST", body=inner, last=False))
        chunked = "Transfer-Encoding: chunked"
        writer.write(rig.request("/2", origin, chunked, method="POST", last=False) + chunk)
        writer.write(rig.request("/3"))
        response = await reader.read(-1)
        assert response.count(b"HTTP/1.1 200 OK\r\n") == 3
        assert [response.find(b"POST /1 "), response.find(b"POST /2 ")] != [-1, -1]
        assert b"GET /3 HTTP/1.1|" in response
        writer.close()


async def test_upgrading_opens_no_door_to_the_tool_s_other_addresses(tmp_path: Path) -> None:
    """A proxy that believes in an upgrade that the server refused passes on whatever follows."""
    async with running_rig(tmp_path, hello) as rig:
        upgrade = ("Connection: Upgrade", "Upgrade: websocket", own_origin(rig))
        reader, writer = await rig.connect()
        writer.write(rig.request("/ws", *upgrade, last=False))
        inner = "GET /.studio/log HTTP/1.1\r\nHost: x\r\n\r\n"
        writer.write(inner.encode() * 2)
        first = await read_head(reader)
        assert status(first) == 200, "the tool refused"
        await reader.readexactly(int(field(first, "Content-Length")))
        assert status(await read_head(reader)) == 421, "what follows is a request like any other"
        writer.close()
        h2c = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAAA")
        response = await rig.get("/", *h2c)
        assert b"h2c" not in response
        assert b"HTTP2-Settings" not in response


@pytest.mark.parametrize(
    "target",
    ["http://evil/", "//evil/", "/\\evil", "*", "evil:80", "/../.studio/log", "/%2e/.studio/log"],
)
async def test_odd_targets_reach_the_tool_as_they_are_or_not_at_all(rig: Rig, target: str) -> None:
    response = await rig.get(target)
    if target.startswith("/"):
        assert status(response) == 200
        assert f"GET {target} HTTP/1.1\r\n".encode() in response
    else:
        assert status(response) == 400
    options = await rig.ask(rig.request(target, method="OPTIONS"))
    assert status(options) == (405 if target == "*" else status(response))


async def test_ten_thousand_pipelined_requests_do_not_keep_others_waiting(rig: Rig) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    reader, writer = await rig.connect()
    one = rig.request("/", cookie="", last=False)
    writer.write(one * 10_000)
    answered = 0

    async def count() -> None:
        nonlocal answered
        while answered < 10_000:
            data = await reader.readuntil(b"HTTP/1.1 401")
            answered += data.count(b"HTTP/1.1 401")

    counting = asyncio.get_running_loop().create_task(count())
    for _ in range(3):
        before = answered
        assert status(await rig.get()) == 200
        assert answered - before < 5000
    async with asyncio.timeout(50):
        await counting
    writer.close()


async def test_a_flood_to_a_session_is_held_back_by_its_own_answers(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    async with running_rig(tmp_path) as rig:
        _, writer = await rig.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(rig.request("/" + "x" * 8000, last=False) * 5000)
        last = -1
        async with asyncio.timeout(30):
            while last != rig.edge.counters.requests:
                last = rig.edge.counters.requests
                await asyncio.sleep(0.2)
        assert last < 2500, "answers that nobody reads are not asked for"
        (connection,) = rig.edge.listener.connections
        held = len(connection._buffer) + connection.transport.get_write_buffer_size()
        assert held < 2 * 1024 * 1024
        writer.transport.abort()
        await until(lambda: not rig.edge.listener.connections)


async def test_slow_and_silent_clients_are_ended_by_the_sweep(rig: Rig) -> None:
    writers = []
    starts = [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n", b"\r\n" * 100, b"\r"]
    for start in starts:
        _, writer = await rig.connect()
        writer.write(start)
        writers.append(writer)
    await until(lambda: len(rig.edge.listener.connections) == len(starts))
    await until(lambda: sum(bool(c._buffer) for c in rig.edge.listener.connections) == 3)
    now = asyncio.get_running_loop().time()
    rig.edge.listener.sweep(now + 10)
    assert len(rig.edge.listener.connections) == len(starts)
    rig.edge.listener.sweep(now + 80)
    rig.edge.listener.sweep(now + 90)
    await until(lambda: not rig.edge.listener.connections)
    for writer in writers:
        writer.close()


async def test_long_heads_are_refused_and_long_cookies_are_not(rig: Rig) -> None:
    cookies = "; ".join(f"c{n}={'v' * 4096}" for n in range(8))
    response = await rig.ask(rig.request(cookie=f"{cookies}; {rig.cookie()}"))
    assert status(response) == 200
    assert cookies.encode() in response
    too_long = rig.request("/", f"X: {'x' * HEAD_BYTES_MAX}")
    assert status(await rig.ask(too_long)) == 431
    assert status(await rig.ask(rig.request("/" + "x" * HEAD_BYTES_MAX))) == 431


async def test_a_session_with_all_its_connections_in_use_starves_no_other(tmp_path: Path) -> None:
    async def never(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"X-Connect-Sub: 66" in head:
            await reader.read(-1)
        writer.write(OK)

    async with running_rig(tmp_path, never) as rig:
        await rig.start_agent(OTHER)
        cookie = rig.cookie(user=66)
        greedy = []
        for _ in range(300):
            _, writer = await rig.connect()
            writer.write(rig.request(cookie=cookie))
            greedy.append(writer)
        await until(lambda: rig.parked.open >= 200)
        other = rig.request(host=rig.platform.host(OTHER), cookie=rig.cookie(OTHER))
        async with asyncio.timeout(5):
            assert status(await rig.ask(other)) == 200
            assert status(await rig.get()) == 200, "nor the same session's other people"
        for writer in greedy:
            writer.transport.abort()
        await until(lambda: not rig.edge.listener.connections, what="all gone")
        await until(lambda: rig.parked.open < 100, what="the tunnel recovers")
        assert status(await rig.get()) == 200
