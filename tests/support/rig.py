"""A whole data path in one event loop: client ⇄ edge ⇄ tunnel ⇄ gateway ⇄ tool, on loopback."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from agent.activity import Activity
from agent.gateway.server import Gateway
from agent.reserved import Answer
from agent.tunnel.dialer import Tunnel
from common.clock import SystemClock
from common.http1.lane import TcpAddress
from common.http1.listener import sweep_forever
from common.ids import RunNumber, SessionId
from common.secret import Secret
from common.session_spec import SPEC_VERSION, SessionSpec, ToolSpec, WorkDirectory
from common.tokens import TokenVerifier
from connect_proxy.config import EdgeConfig
from connect_proxy.edge import Edge
from tests.support.plain_ground import PlainGround
from tests.support.platform import Platform

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from agent.tunnel.link import EdgeLink
    from connect_proxy.tunnels import SessionTunnels

SESSION = SessionId("1234abcd")
OTHER = SessionId("5678ef01")
DOMAIN = "studio.localhost:9191"

ToolHandler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def until(condition: Callable[[], object], *, seconds: float = 10.0, what: str = "") -> None:
    """Wait for a named condition; the limit only bounds a failing test."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.005)
    except TimeoutError as error:
        raise AssertionError(f"never came true: {what or condition}") from error


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


def session_spec(
    session_id: SessionId,
    platform: Platform,
    edge_port: int,
    tool_port: int,
    folder: Path,
    run: int = 1,
) -> SessionSpec:
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
    stopped: bool = False

    @property
    def link(self) -> EdgeLink:
        return self.tunnel._links[0]

    async def stop(self) -> None:
        """End it, and fail if it had ended by itself."""
        if self.stopped:
            return
        self.stopped = True
        await end_tasks(self.tasks)
        await self.tunnel.close()
        await self.gateway.close()


async def end_tasks(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel tasks that were meant to run for ever; raises what one of them died of."""
    died = [task for task in tasks if task.done()]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    for task in died:
        task.result()


@dataclass
class EdgeEnd:
    """An edge that listens."""

    edge: Edge
    port: int
    tasks: list[asyncio.Task[None]]

    @staticmethod
    async def start(platform: Platform, port: int = 0, scheme: str = "http") -> EdgeEnd:
        clock = SystemClock()
        config = EdgeConfig(
            connect_domain=platform.domain,
            control_plane_url=f"unix:{platform.path}",
            edge_token=Secret("t"),
            listen_port=port,
            public_scheme=scheme,
        )
        edge = Edge(config, clock)
        port = await edge.listener.listen(edge.site, "127.0.0.1", port)
        loop = asyncio.get_running_loop()
        sweeps = (edge.listener.sweep, edge.tunnels.sweep, edge.platform.sweep, edge.presence.sweep)
        tasks: list[asyncio.Task[None]] = [
            loop.create_task(edge.load_keys_forever()),
            loop.create_task(edge.control_plane.follow_feed(edge.directory)),
            loop.create_task(edge.presence.report_forever()),
            loop.create_task(sweep_forever(clock, sweeps)),
            loop.create_task(edge.tasks.failed()),
        ]
        await until(lambda: edge.directory.known and edge.verifier.key_ids, what="edge is ready")
        return EdgeEnd(edge, port, tasks)

    async def stop(self) -> None:
        await end_tasks(self.tasks)
        await self.edge.close()


@dataclass
class Rig:
    """See the module. `tool` is replaceable while running."""

    platform: Platform
    edge_end: EdgeEnd
    folder: Path
    tool: ToolHandler
    tool_port: int = 0
    agents: list[AgentEnd] = field(default_factory=list)
    tool_connections: int = 0
    tool_writers: set[asyncio.StreamWriter] = field(default_factory=set)
    scheme: str = "http"
    ground: PlainGround = field(default_factory=PlainGround)

    @property
    def edge(self) -> Edge:
        return self.edge_end.edge

    @property
    def port(self) -> int:
        return self.edge_end.port

    @property
    def host(self) -> str:
        return self.platform.host(SESSION)

    @property
    def parked(self) -> SessionTunnels:
        return self.edge.tunnels.of(SESSION)

    async def start_agent(self, session_id: SessionId = SESSION, run: int = 1) -> AgentEnd:
        clock = SystemClock()
        spec = session_spec(session_id, self.platform, self.port, self.tool_port, self.folder, run)
        activity = Activity(clock)
        end: list[AgentEnd] = []
        gateway = Gateway(
            spec=spec,
            ground=self.ground,
            tool_address=TcpAddress("127.0.0.1", self.tool_port),
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

    async def restart_edge(self) -> None:
        """End the edge without a word and start another at the same place."""
        port = self.port
        await self.edge_end.stop()
        self.edge_end = await EdgeEnd.start(self.platform, port, self.scheme)

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

    def request(
        self,
        target: str = "/",
        *fields: str,
        method: str = "GET",
        host: str | None = None,
        cookie: str | None = None,
        body: bytes = b"",
        last: bool = True,
    ) -> bytes:
        """Return a request's bytes; signed in unless `cookie` is another one or empty."""
        cookie = self.cookie() if cookie is None else cookie
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host or self.host}", *fields]
        if cookie:
            lines.append(f"Cookie: {cookie}")
        if last:
            lines.append("Connection: close")
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body

    async def get(self, target: str = "/", *fields: str, cookie: bool = True) -> bytes:
        """GET on the session's host, connection closed afterwards; returns the whole response."""
        return await self.ask(self.request(target, *fields, cookie=None if cookie else ""))


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
    folder: Path, tool: ToolHandler = hello, *, agent: bool = True, scheme: str = "http"
) -> AsyncIterator[Rig]:
    """Start everything; end everything. Fails on whatever the loop had to report meanwhile."""
    loop = asyncio.get_running_loop()
    reports: list[str] = []
    loop.set_exception_handler(lambda _, context: reports.append(f"{context}"))
    platform = Platform(folder, DOMAIN)
    await platform.start()
    platform.add(SESSION)
    platform.add(OTHER, name="other")
    rig = Rig(platform, await EdgeEnd.start(platform, scheme=scheme), folder, tool, scheme=scheme)

    async def serve_tool(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        rig.tool_connections += 1
        rig.tool_writers.add(writer)
        try:
            await rig.tool(reader, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()
            rig.tool_writers.discard(writer)

    server = await asyncio.start_server(serve_tool, "127.0.0.1", 0, limit=2**20)
    rig.tool_port = server.sockets[0].getsockname()[1]
    try:
        if agent:
            await rig.start_agent()
        yield rig
    finally:
        for end in rig.agents:
            await end.stop()
        await rig.edge_end.stop()
        server.close()
        for writer in list(rig.tool_writers):
            writer.transport.abort()
        await until(lambda: not rig.tool_writers, what="the tool ends")
        await platform.stop()
        await asyncio.sleep(0)
    assert not reports, reports
