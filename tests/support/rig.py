"""A whole data path in one event loop: client ⇄ edge ⇄ tunnel ⇄ gateway ⇄ tool, on loopback."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.activity import Activity
from agent.gateway.server import Gateway
from agent.reserved import Answer
from agent.tunnel.dialer import Tunnel
from common.clock import SystemClock
from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_VERSION, SessionSpec, ToolSpec, WorkDirectory
from common.tokens import TokenVerifier
from connect_proxy.config import EdgeConfig
from connect_proxy.edge import Edge, platform_address
from common.http1.listener import sweep_forever
from tests.support.platform import Platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
    from pathlib import Path

SESSION = SessionId("1234abcd")
OTHER = SessionId("5678ef01")
DOMAIN = "studio.localhost:9191"

ToolHandler = "Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]"


async def until(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "") -> None:
    """Wait for a named condition; the limit only bounds a failing test."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(f"never came true: {what or condition}") from None


class ReservedStub:
    """The agent's own endpoints, as far as the gateway cares."""

    async def answer(self, method: str, path: str, query: Mapping[str, str]) -> Answer:
        if path == "/.studio/log" and query.get("follow") == "1":
            return Answer(200, "text/plain", self._lines())
        return Answer(200, "text/plain", f"{method} {path}".encode())

    async def _lines(self) -> AsyncIterator[bytes]:
        for number in range(3):
            yield b"line %d\n" % number
            await asyncio.sleep(0)


def session_spec(session_id: SessionId, platform: Platform, edge_port: int, tool_port: int,
                 folder: Path, run: int = 1) -> SessionSpec:
    url = f"http://127.0.0.1:{edge_port}"
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=session_id,
        run_number=RunNumber(run),
        studio_name="demo",
        control_plane_url=url,
        edge_urls=(url,),
        session_host=platform.host(session_id),
        agent_token=Secret(platform.agent_token(session_id, run)),
        token_keys=platform.signer.public_keys(),
        tool=ToolSpec(name="t", command=("true",), port=tool_port, working_directory="/"),
        environment={},
        host_state_dir=str(folder),
        work_directory=WorkDirectory(url=f"file://{folder}"),
    )


@dataclass
class AgentEnd:
    """One session's tunnel and gateway."""

    gateway: Gateway
    tunnel: Tunnel
    activity: Activity
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    ready: bool = True

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.wait(self.tasks)
        await self.tunnel.close()
        await self.gateway.close()


@dataclass
class Rig:
    """See the module. `tool` is replaceable while running."""

    platform: Platform
    edge: Edge
    port: int
    folder: Path
    tool: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
    tool_port: int = 0
    agents: list[AgentEnd] = field(default_factory=list)
    tool_connections: int = 0
    tool_seen: list[bytes] = field(default_factory=list)

    async def start_agent(self, session_id: SessionId = SESSION, run: int = 1) -> AgentEnd:
        clock = SystemClock()
        spec = session_spec(
            session_id, self.platform, self.port, self.tool_port, self.folder, run
        )
        activity = Activity(clock)
        end: list[AgentEnd] = []
        gateway = Gateway(
            spec=spec,
            tool_address=("127.0.0.1", self.tool_port),
            is_ready=lambda: end[0].ready,
            progress=lambda: "The tool is starting.",
            reserved=ReservedStub(),  # type: ignore[arg-type]
            activity=activity,
            verifier=TokenVerifier(spec.token_keys, clock),
            clock=clock,
        )
        tunnel = Tunnel(
            edge_urls=spec.edge_urls,
            token=spec.agent_token,
            gateway=gateway,
            clock=clock,
            rng=random.Random(1),
        )
        agent = AgentEnd(gateway, tunnel, activity)
        end.append(agent)
        loop = asyncio.get_running_loop()
        agent.tasks = [loop.create_task(gateway.run()), loop.create_task(tunnel.run())]
        self.agents.append(agent)
        parked = self.edge.tunnels.of(session_id)
        await until(lambda: parked.run == run and parked.parked >= 2, what="two parked")
        return agent

    def cookie(self, session_id: SessionId = SESSION, user: int = 7) -> str:
        return f"studio-connect={self.platform.connect_token(session_id, user)}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)

    async def ask(self, raw: bytes) -> bytes:
        """Send bytes on a new connection and return everything that comes until it closes."""
        reader, writer = await self.connect()
        writer.write(raw)
        try:
            async with asyncio.timeout(20):
                return await reader.read(-1)
        finally:
            writer.close()

    async def get(self, target: str = "/", *fields: str, cookie: bool = True) -> bytes:
        """GET on the session's host, connection closed afterwards; returns the whole response."""
        lines = [f"GET {target} HTTP/1.1", f"Host: {self.platform.host(SESSION)}", *fields]
        if cookie:
            lines.append(f"Cookie: {self.cookie()}")
        lines += ["Connection: close", "", ""]
        return await self.ask("\r\n".join(lines).encode())


async def hello(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """The simplest tool: answers every request with the head it saw."""
    while head := await read_head(reader):
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(head), head))


async def read_head(reader: asyncio.StreamReader) -> bytes:
    """Return one head with its empty line, or nothing at the end of the connection."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return b""


@asynccontextmanager
async def running_rig(
    folder: Path,
    tool: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]] = hello,
    *,
    agent: bool = True,
) -> AsyncIterator[Rig]:
    """Start everything; end everything."""
    platform = Platform(folder, DOMAIN)
    await platform.start()
    platform.add(SESSION)
    platform.add(OTHER, name="other")
    clock = SystemClock()
    url = f"unix:{platform.path}"
    config = EdgeConfig(
        connect_domain=DOMAIN, control_plane_url=url, edge_token=Secret("t"), listen_port=0
    )
    edge = Edge(config, clock)
    assert platform_address(url)
    port = await edge.listener.listen(edge.site, "127.0.0.1", 0)
    loop = asyncio.get_running_loop()
    sweeps = (edge.listener.sweep, edge.tunnels.sweep, edge.platform.sweep, edge.presence.sweep)
    tasks: list[asyncio.Task[None]] = [
        loop.create_task(edge.load_keys_forever()),
        loop.create_task(edge.control_plane.follow_feed(edge.directory)),
        loop.create_task(edge.presence.report_forever()),
        loop.create_task(sweep_forever(clock, sweeps)),
    ]
    rig = Rig(platform, edge, port, folder, tool)
    writers: set[asyncio.StreamWriter] = set()

    async def serve_tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rig.tool_connections += 1
        writers.add(writer)
        try:
            await rig.tool(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            writers.discard(writer)

    server = await asyncio.start_server(serve_tool, "127.0.0.1", 0, limit=2**20)
    rig.tool_port = server.sockets[0].getsockname()[1]
    try:
        await until(lambda: edge.directory.known and edge.verifier.key_ids, what="edge is ready")
        if agent:
            await rig.start_agent()
        yield rig
    finally:
        for end in rig.agents:
            await end.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await edge.close()
        server.close()
        for writer in list(writers):
            writer.close()
        await platform.stop()
