"""Long and endless bodies: at once, bounded, and cut where they are cut."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.rig import Rig, read_head, running_rig, until
from tests.support.visits import field, own_origin, status

if TYPE_CHECKING:
    from pathlib import Path

    from common.http1.relay import Downstream
    from common.http1.upstream import Upstream
    from tests.support.rig import ToolHandler

MEGABYTE = bytes(range(256)) * 4096
SIZE = 200
BUFFERED_BYTES_MAX = 4 * 1024 * 1024
"""What edge and gateway together may hold of one exchange: two ends, two transports each, and what
one read can add to a buffer that is nearly full."""


def buffered(rig: Rig) -> int:
    """Return the bytes that edge and gateway hold in their own memory at this moment."""
    ends: list[Downstream | Upstream] = [*rig.edge.listener.connections, *rig.parked._open]
    for agent in rig.agents:
        ends += [*agent.link._busy, *agent.gateway._site.lane._open]
    return sum(len(end._buffer) + end.transport.get_write_buffer_size() for end in ends)


async def take(reader: asyncio.StreamReader, length: int) -> str:
    """Read exactly `length` bytes; return their digest."""
    digest = hashlib.sha256()
    while length:
        data = await reader.read(min(length, 1 << 20))
        assert data, f"{length} bytes are missing"
        digest.update(data)
        length -= len(data)
    return digest.hexdigest()


EXPECTED = hashlib.sha256(MEGABYTE * SIZE).hexdigest()


def resident() -> int:
    return int(psutil.Process().memory_info().rss)


async def send_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with SIZE megabytes, as fast as they are taken."""
    while await read_head(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(MEGABYTE) * SIZE))
        for _ in range(SIZE):
            writer.write(MEGABYTE)
            await writer.drain()


async def count_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with the digest of what came."""
    while head := await read_head(reader):
        digest = await take(reader, int(field(head, "Content-Length")))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n%b" % digest.encode())


async def test_200_megabytes_come_down_in_constant_memory(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    async with running_rig(tmp_path, send_much) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/big"))
        assert status(await read_head(reader)) == 200
        before = resident()
        assert await take(reader, len(MEGABYTE) * SIZE) == EXPECTED
        assert resident() - before < 64 * 1024 * 1024
        writer.close()


async def test_200_megabytes_go_up_in_constant_memory(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    async with running_rig(tmp_path, count_much) as rig:
        reader, writer = await rig.connect()
        length = f"Content-Length: {len(MEGABYTE) * SIZE}"
        writer.write(rig.request("/big", own_origin(rig), length, method="PUT"))
        before = resident()
        for _ in range(SIZE):
            writer.write(MEGABYTE)
            await writer.drain()
        assert resident() - before < 64 * 1024 * 1024
        response = await reader.read(-1)
        assert response.endswith(EXPECTED.encode())
        writer.close()


async def test_a_reader_that_stops_stops_the_tool_and_nothing_piles_up(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(MEGABYTE)
            await writer.drain()
            sent += 1

    async with running_rig(tmp_path, endless) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/endless"))
        await read_head(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stops(lambda: sent)
        assert 0 < buffered(rig) < BUFFERED_BYTES_MAX
        before = sent
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await take(reader, 50 * len(MEGABYTE))
        assert sent > before
        writer.transport.abort()
        await until(lambda: not rig.tool_writers, what="the tool's connection ends")


async def stops(count: object) -> None:
    """Wait until a number hasn't changed for a while of many loop turns."""
    assert callable(count)
    last, same = count(), 0
    async with asyncio.timeout(20):
        while same < 50:
            await asyncio.sleep(0.002)
            last, same = (last, same + 1) if count() == last else (count(), 0)


async def test_a_tool_that_does_not_read_stops_the_client_and_nothing_piles_up(
    tmp_path: Path,
) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    go_on = asyncio.Event()

    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await go_on.wait()
        writer.transport.resume_reading()  # type: ignore[attr-defined]
        await count_much(reader, writer)

    async with running_rig(tmp_path, late) as rig:
        reader, writer = await rig.connect()
        length = f"Content-Length: {len(MEGABYTE) * 50}"
        writer.write(rig.request("/big", own_origin(rig), length, method="PUT"))
        sent = 0

        async def send() -> None:
            nonlocal sent
            for _ in range(50):
                writer.write(MEGABYTE)
                await writer.drain()
                sent += 1

        sending = asyncio.get_running_loop().create_task(send())
        await stops(lambda: sent)
        assert sent < 50
        assert 0 < buffered(rig) < BUFFERED_BYTES_MAX
        go_on.set()
        await sending
        response = await reader.read(-1)
        assert response.endswith(hashlib.sha256(MEGABYTE * 50).hexdigest().encode())
        writer.close()


@pytest.mark.parametrize("accept", ["text/event-stream", "*/*", "text/html"])
async def test_events_arrive_at_once(tmp_path: Path, accept: str) -> None:
    go_on: asyncio.Queue[bytes] = asyncio.Queue()

    async def events(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
        writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
        while data := await go_on.get():
            writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        writer.write(b"0\r\n\r\n")

    async with running_rig(tmp_path, events) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/events", f"Accept: {accept}"))
        await read_head(reader)
        async with asyncio.timeout(10):
            for number in range(20):
                go_on.put_nowait(b"data: %d\n\n" % number)
                await reader.readuntil(b"data: %d\n\n\r\n" % number)
            go_on.put_nowait(b"")
            assert await reader.read(-1) == b"0\r\n\r\n"
        writer.close()


@pytest.mark.parametrize("when", ["before the head", "in the body", "while it is paused"])
async def test_a_client_that_leaves_ends_the_work_at_the_tool(tmp_path: Path, when: str) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    arrived, ended = asyncio.Event(), asyncio.Event()

    async def works(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        if when != "before the head":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\nworking")
        arrived.set()
        try:
            if when == "while it is paused":
                while True:
                    writer.write(MEGABYTE)
                    await writer.drain()
            assert await reader.read(-1) == b""
        finally:
            ended.set()

    async with running_rig(tmp_path, works) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/work"))
        await arrived.wait()
        if when != "before the head":
            await reader.readuntil(b"working")
        if when == "while it is paused":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await stops(lambda: buffered(rig))
        writer.transport.abort()
        async with asyncio.timeout(10):
            await ended.wait()
        await until(lambda: not rig.edge.listener.connections and not rig.agents[0].link._busy)


def cut_after(head: bytes, *, reset: bool) -> ToolHandler:
    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n5\r\nhello\r\n")
        await writer.drain()
        if reset:
            await asked.wait()
            connection = writer.get_extra_info("socket")
            connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER: on, 0 s
            writer.transport.abort()

    asked = asyncio.Event()
    tool.asked = asked  # type: ignore[attr-defined]
    return tool


@pytest.mark.parametrize(
    ("head", "reset"),
    [
        (b"Content-Length: 100\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", False),
        (b"Transfer-Encoding: chunked\r\n", True),
        (b"Connection: close\r\n", True),
    ],
)
async def test_a_body_the_tool_cut_short_looks_cut_short_to_the_client(
    tmp_path: Path, head: bytes, reset: bool
) -> None:
    tool = cut_after(head, reset=reset)
    async with running_rig(tmp_path, tool) as rig:
        reader, writer = await rig.connect()
        writer.write(rig.request("/cut", last=False))
        assert status(await read_head(reader)) == 200
        body = b""
        error: Exception | None = None
        try:
            async with asyncio.timeout(10):
                body = await reader.readexactly(10)
                tool.asked.set()  # type: ignore[attr-defined]
                body += await reader.read(-1)
        except ConnectionError as caught:
            error = caught
        assert body in (b"5\r\nhello\r\n", b"")
        if b"close" in head:
            assert error is not None, "without a length only a reset tells"
        writer.close()


async def test_a_body_until_close_ends_cleanly_when_the_tool_ends_it(tmp_path: Path) -> None:
    async def tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + MEGABYTE)

    async with running_rig(tmp_path, tool) as rig:
        response = await rig.ask(rig.request("/", last=False))
        assert response.partition(b"\r\n\r\n")[2] == MEGABYTE


async def test_early_answers_to_big_uploads_arrive_and_later_requests_too(tmp_path: Path) -> None:
    async def strict(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await read_head(reader)
        if b"PUT" in head:
            writer.write(b"HTTP/1.1 413 Too Big\r\nContent-Length: 3\r\n\r\nno!")
            await writer.drain()
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await answered.wait()  # without reading the rest
            return
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok")

    answered = asyncio.Event()
    async with running_rig(tmp_path, strict) as rig:
        for size in (1, 70_000, 500_000, 3_000_000):
            answered.clear()
            reader, writer = await rig.connect()
            writer.write(
                rig.request("/", own_origin(rig), method="PUT", body=b"x" * size, last=False)
            )
            async with asyncio.timeout(10):
                assert status(await read_head(reader)) == 413
                assert await reader.readexactly(3) == b"no!"
            answered.set()
            writer.close()
            assert status(await rig.get()) == 200
