"""Connections to a tool: dialled, kept for a while, counted."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import pytest

from common.http1 import lane as lanes
from common.http1.lane import (
    IDLE_SECONDS_MAX,
    DialledLane,
    LaneUnavailableError,
    TcpAddress,
    UnixAddress,
)
from tests.support.conversation import FakeTransport
from tests.support.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path


@asynccontextmanager
async def server(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[TcpAddress]:
    writers = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await serve(reader, writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield TcpAddress("127.0.0.1", listening.sockets[0].getsockname()[1])
    listening.close()
    for writer in writers:
        writer.transport.abort()
    await until(lambda: all(writer.transport.is_closing() for writer in writers))


async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(-1)


async def test_an_idle_connection_is_used_again_and_closed_in_time() -> None:
    async with server(silent) as address:
        lane = DialledLane(address, name="It")
        assert lane.take() is None
        first = await lane.wait()
        lane.give_back(first)
        assert lane.take() is first
        lane.give_back(first)
        now = asyncio.get_running_loop().time()
        lane.sweep(now + IDLE_SECONDS_MAX - 1)
        assert first.usable
        lane.sweep(now + IDLE_SECONDS_MAX + 1)
        assert lane.take() is None
        await until(lambda: not lane._open, what="counted no more")


async def test_the_connections_are_limited() -> None:
    async with server(silent) as address:
        lane = DialledLane(address, name="It", connections_max=2)
        both = [await lane.wait() for _ in range(2)]
        with pytest.raises(LaneUnavailableError, match="It has too many") as refused:
            await lane.wait()
        assert refused.value.status == 503
        both[0].abandon()
        await until(lambda: len(lane._open) == 1)
        await lane.wait()
        lane.close()


async def test_connections_being_dialled_count() -> None:
    async with server(silent) as address:
        lane = DialledLane(address, name="It", connections_max=5)
        results: list[object] = []

        async def dial() -> None:
            try:
                results.append(await lane.wait())
            except LaneUnavailableError:
                results.append(None)

        async with asyncio.TaskGroup() as group:
            for _ in range(20):
                group.create_task(dial())
        assert sum(result is not None for result in results) == 5
        lane.close()


async def test_a_tool_that_hangs_up_at_once_uses_nothing_up() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with server(hang_up) as address:
        lane = DialledLane(address, name="It", connections_max=3)
        for _ in range(20):
            with suppress(LaneUnavailableError):
                await lane.wait()
            await until(lambda: not lane._open)


P = TypeVar("P", bound=asyncio.BaseProtocol)


class Greeting:
    """A place where somebody speaks first."""

    async def connect(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        protocol = factory()
        assert isinstance(protocol, asyncio.Protocol)
        transport = FakeTransport(protocol)
        transport.feed(b"220 ready\r\n")
        return transport, protocol


class Silence:
    """A place where nobody ever answers."""

    async def connect(self, factory: Callable[[], P]) -> tuple[asyncio.Transport, P]:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_tool_that_greets_before_it_is_asked_is_not_used() -> None:
    lane = DialledLane(Greeting(), name="It")
    with pytest.raises(LaneUnavailableError, match="accepts connections and ends them"):
        await lane.wait()
    assert not lane._open


async def test_nobody_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    async with server(silent) as address:
        pass
    for nowhere in (address, UnixAddress(str(tmp_path / "none"))):
        with pytest.raises(LaneUnavailableError, match="The tool does not accept") as refused:
            await DialledLane(nowhere, name="The tool").wait()
        assert refused.value.status == 502


async def test_a_tool_that_never_accepts_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    lane = DialledLane(Silence(), name="It")
    monkeypatch.setattr(lanes, "CONNECT_TIMEOUT_SECONDS", 0.01)
    with pytest.raises(LaneUnavailableError, match="no answer"):
        await lane.wait()


async def test_a_cancelled_wait_leaves_nothing_open() -> None:
    async with server(silent) as address:
        lane = DialledLane(address, name="It", connections_max=1)
        for turns in range(12):
            waiting = asyncio.get_running_loop().create_task(lane.wait())
            for _ in range(turns):
                await asyncio.sleep(0)
            if waiting.done():
                waiting.result().abandon()
            waiting.cancel()
            await asyncio.wait([waiting])
            await until(lambda: not lane._open)
        (await lane.wait()).abandon()


async def test_too_many_idle_connections_are_closed() -> None:
    async with server(silent) as address:
        lane = DialledLane(address, name="It")
        many = [await lane.wait() for _ in range(40)]
        for upstream in many:
            lane.give_back(upstream)
        assert sum(upstream.usable for upstream in many) == 32
        lane.close()


async def test_a_unix_socket_is_dialled(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    writers = []

    async def accept(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    listening = await asyncio.start_unix_server(accept, path)
    lane = DialledLane(UnixAddress(path), name="It")
    assert (await lane.wait()).usable
    await until(lambda: writers)
    lane.close()
    listening.close()
    writers[0].close()
