"""WebSockets through the whole path, with somebody else's client and server at the ends."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK, InvalidStatus
from websockets.typing import Origin, Subprotocol

from common.http1.join import _Half
from common.http1.relay import Downstream
from common.http1.upstream import Upstream
from tests.support.rig import Rig, read_head, running_rig, until
from tests.support.visits import first_head, open_websocket, status, switching, websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from websockets.http11 import Request, Response

    Talk = Callable[[ServerConnection], Awaitable[None]]


@asynccontextmanager
async def path_to(tmp_path: Path, talk: Talk, **options: Any) -> AsyncIterator[Rig]:
    """A rig whose tool is a server of the `websockets` library."""
    options = {"ping_interval": None, "max_size": None, **options}
    async with running_rig(tmp_path, agent=False) as rig:
        async with serve(talk, "127.0.0.1", 0, **options) as server:
            rig.tool_port = next(iter(server.sockets)).getsockname()[1]
            await rig.start_agent()
            yield rig


def client(rig: Rig, path: str = "/ws", **options: Any) -> connect:
    options = {"ping_interval": None, "max_size": None, **options}
    return connect(
        f"ws://{rig.host}{path}",
        host="127.0.0.1",
        port=rig.port,
        origin=Origin(f"http://{rig.host}"),
        additional_headers={"Cookie": rig.cookie()},
        proxy=None,
        **options,
    )


async def echo(server: ServerConnection) -> None:
    async for message in server:
        await server.send(message)


async def test_messages_of_all_kinds_and_sizes_come_back(tmp_path: Path) -> None:
    async with path_to(tmp_path, echo) as rig, client(rig) as ws:
        messages: list[str | bytes] = ["", b"", "ünï", b"\x00\xff" * 1000, "x" * 70_000]
        for message in messages:
            await ws.send(message)
            assert await ws.recv() == message
        await ws.send(["a", "b", "c"])
        assert await ws.recv() == "abc"


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_a_message_of_five_megabytes_comes_back(
    tmp_path: Path, compression: str | None
) -> None:
    big = os.urandom(5 * 1024 * 1024)
    async with path_to(tmp_path, echo, compression=compression) as rig:
        async with client(rig, compression=compression) as ws:
            await ws.send(big)
            assert await ws.recv() == big


@pytest.mark.parametrize(("ours", "theirs"), list(itertools.product(["deflate", None], repeat=2)))
async def test_compression_is_the_ends_own_affair(
    tmp_path: Path, ours: str | None, theirs: str | None
) -> None:
    async with path_to(tmp_path, echo, compression=theirs) as rig:
        async with client(rig, compression=ours) as ws:
            both = ours is not None and theirs is not None
            assert bool(ws.protocol.extensions) is both
            await ws.send("compress me " * 1000)
            assert await ws.recv() == "compress me " * 1000


@pytest.mark.parametrize(
    ("offered", "understood", "chosen"),
    [(["a", "b"], ["b"], "b"), (["a", "b"], ["b", "a"], "a"), (["x"], ["b"], None), ([], [], None)],
)
async def test_the_subprotocol_is_the_tool_s_choice(
    tmp_path: Path, offered: list[str], understood: list[str], chosen: str | None
) -> None:
    def choose(_: ServerConnection, offers: Any) -> Subprotocol | None:
        assert list(offers) == offered
        return next((offer for offer in offers if offer in understood), None)

    async with path_to(tmp_path, echo, select_subprotocol=choose) as rig:
        subprotocols = [Subprotocol(name) for name in offered] or None
        async with client(rig, subprotocols=subprotocols) as ws:
            assert ws.subprotocol == chosen
            assert ws.response is not None
            assert ("Sec-WebSocket-Protocol" in ws.response.headers) is (chosen is not None)


@pytest.mark.parametrize("code", [1000, 1001, 1011, 3000, 4404, 4999])
async def test_close_codes_and_reasons_reach_the_other_end(tmp_path: Path, code: int) -> None:
    closed: asyncio.Queue[tuple[int | None, str | None]] = asyncio.Queue()

    async def talk(server: ServerConnection) -> None:
        if server.request is not None and server.request.path == "/server-closes":
            await server.close(code, "because ünï")
        await server.wait_closed()
        closed.put_nowait((server.close_code, server.close_reason))

    async with path_to(tmp_path, talk) as rig:
        async with client(rig, "/server-closes") as ws:
            with pytest.raises((ConnectionClosedError, ConnectionClosedOK)):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (code, "because ünï")
        assert await closed.get() == (code, "because ünï")
        async with client(rig) as ws:
            await ws.close(code, "mine")
        assert await closed.get() == (code, "mine")


async def test_pings_reach_the_other_end_with_their_payload_and_are_no_use(
    tmp_path: Path,
) -> None:
    pinged: asyncio.Queue[bytes] = asyncio.Queue()

    async def talk(server: ServerConnection) -> None:
        async with asyncio.timeout(10):
            await (await server.ping(b"from the tool"))
        pinged.put_nowait(b"answered")
        await server.wait_closed()

    async with path_to(tmp_path, talk) as rig, client(rig) as ws:
        assert await pinged.get() == b"answered"
        activity = rig.agents[0].activity
        before = activity.status()
        async with asyncio.timeout(10):
            await (await ws.ping(b"from the browser"))
        assert activity.status() == before
        await ws.send("typing")
        await until(lambda: activity.status().reason == "WebSocket data")
        assert activity.status().open_websockets == 1
    await until(lambda: activity.status().open_websockets == 0)


@pytest.mark.parametrize("code", [200, 302, 401, 403, 404, 500, 503])
async def test_what_a_tool_answers_instead_is_relayed(tmp_path: Path, code: int) -> None:
    def refuse(server: ServerConnection, request: Request) -> Response | None:
        return server.respond(code, f"no, {request.path}\n")

    async with path_to(tmp_path, echo, process_request=refuse) as rig:
        with pytest.raises(InvalidStatus) as refused:
            async with client(rig):
                pass
        assert refused.value.response.status_code == code
        assert refused.value.response.body == b"no, /ws\n"
        link = rig.agents[0].link
        await until(lambda: not link._busy and rig.parked.open == len(link._parked))
        assert rig.edge.presence.websockets == 0


async def test_a_dead_tool_gives_502_to_an_upgrade(tmp_path: Path) -> None:
    async with running_rig(tmp_path, agent=False) as rig:
        rig.tool_port = 1
        await rig.start_agent()
        assert status(await first_head(rig, websocket(rig))) == 502


async def test_each_side_may_end_its_half_first(tmp_path: Path) -> None:
    async def until_the_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        everything = await reader.read(-1)
        writer.write(b"%d bytes" % len(everything))

    async with running_rig(tmp_path, until_the_end) as rig:
        reader, writer = await open_websocket(rig)
        writer.write(b"x" * 100_000)
        writer.write_eof()
        assert await reader.read(-1) == b"100000 bytes"
        writer.close()

    async def ends_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_head(reader)
        writer.write(b"HTTP/1.1 101 X\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nlast")
        writer.write_eof()
        got.append(await reader.read(-1))

    got: list[bytes] = []
    async with running_rig(tmp_path, ends_first) as rig:
        reader, writer = await open_websocket(rig)
        assert await reader.read(-1) == b"last"
        writer.write(b"still sending")
        writer.write_eof()
        await until(lambda: got == [b"still sending"])
        writer.close()


async def test_a_client_that_vanishes_ends_the_tool_s_connection(tmp_path: Path) -> None:
    async with path_to(tmp_path, echo) as rig:
        ws: ClientConnection = await client(rig)
        activity = rig.agents[0].activity
        await until(lambda: activity.status().open_websockets == 1)
        ws.transport.abort()
        await until(lambda: activity.status().open_websockets == 0)
        await until(lambda: rig.edge.presence.websockets == 0)


def alive(*kinds: type) -> int:
    gc.collect()
    return sum(isinstance(thing, kinds) for thing in gc.get_objects())


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.timeout(120)
async def test_a_thousand_reconnects_leave_nothing_behind(tmp_path: Path) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)

    async def one(ending: int) -> None:
        reader, writer = await open_websocket(rig)
        if ending == 0:
            writer.write(b"hello")
            assert await reader.readexactly(5) == b"hello"
            writer.close()
        elif ending == 1:
            writer.write_eof()
            assert await reader.read(-1) == b""
            writer.close()
        else:
            writer.transport.abort()

    async with running_rig(tmp_path, switching) as rig:
        link = rig.agents[0].link

        def settled() -> bool:
            return (
                not link._busy
                and not link._dialling
                and not rig.edge.listener.connections
                and rig.parked.open == len(link._parked)
                and not rig.tool_writers
            )

        counts = []
        for round_ in range(1000):
            await one(round_ % 3)
            if round_ in (99, 999):
                await until(settled, what="everything ended")
                await until(lambda: alive(_Half) == 0, what="nobody holds a half any more")
                parked = len(link._parked)
                counts.append(
                    (
                        descriptors() - 2 * parked,
                        alive(_Half),
                        alive(Downstream) - parked,
                        alive(Upstream) - parked,
                        rig.edge.presence.websockets,
                    )
                )
        first, last = counts
        assert last[1] == first[1] == 0
        assert last[0] <= first[0], "a busy machine may not have closed all of the first ones yet"
        assert last[1:] == first[1:]
        assert rig.agents[0].activity.status().open_websockets == 0
