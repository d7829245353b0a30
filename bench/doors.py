"""The ways to one tool: straight, and through nginx, configurable-http-proxy, and ours.

    direct                       client ─▶ tool
    nginx                        client ─▶ nginx ─▶ tool
    configurable-http-proxy      client ─▶ node ─▶ tool
    ours                         client ─▶ edge ─▶ tunnel ─▶ gateway ─▶ tool

All stand at the same time, each process by itself; idle ones cost nothing that shows.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from bench import nginx, pace, stand_in
from bench.exchange import TOOL_BODY, Visitor
from bench.processes import BenchError, Child, child, find_program, free_port
from bench.specs import new_session_id
from common.session_spec import parse
from common.wire import decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from common.ids import SessionId
    from common.session_spec import SessionSpec

OURS = "open studios, two hops"
NGINX = "nginx"
NODE = "configurable-http-proxy"
DIRECT = "the tool, direct"

NODE_PROXY = Path(__file__).parent / "node_modules/configurable-http-proxy"
_READY_SECONDS_MAX = 20.0
_TRY_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Door:
    """One way in. `processes` are those that it puts between client and tool."""

    name: str
    port: int
    processes: dict[str, Child] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Doors:
    """Everything that runs, and who comes in."""

    direct: Door
    peers: tuple[Door, ...]
    visitor: Visitor
    folder: Path

    @property
    def every(self) -> tuple[Door, ...]:
        return (self.direct, *self.peers)

    def interleaved(self, rounds: int) -> Iterator[tuple[int, Door]]:
        """Yield round, from 1, and door: each once a round, in another order each time.

        So a slow minute of the machine, or the door before, hits them all alike.
        """
        for number in range(rounds):
            start = number % len(self.every)
            for door in self.every[start:] + self.every[:start]:
                yield number + 1, door


@asynccontextmanager
async def open_doors(
    start_tool: Callable[[Path, int, AsyncExitStack], Awaitable[Child]],
) -> AsyncIterator[Doors]:
    """Start the tool and all doors to it while inside; each has answered a request."""
    async with AsyncExitStack() as stack:
        folder = _open_folder(stack)
        tool_port = free_port()
        await start_tool(folder, tool_port, stack)
        ours, visitor = await _ours(folder, tool_port, stack)
        peers = (
            await _nginx(folder, tool_port, stack),
            await _node(folder, tool_port, stack),
            ours,
        )
        doors = Doors(Door(DIRECT, tool_port), peers, visitor, folder)
        for door in doors.every:
            await _answers(door, visitor)
        yield doors


def _open_folder(stack: AsyncExitStack) -> Path:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="studios-bench-")))
    folder.chmod(0o755)  # nginx's worker is another user when the bench is root
    return folder


async def fixed_tool(folder: Path, port: int, stack: AsyncExitStack) -> Child:
    """Start a tool that is never the bottleneck: nginx with a fixed body of 1 KB."""
    return await _run_nginx("tool", nginx.tool(folder, port, TOOL_BODY), port, folder, stack)


async def stream_tool(folder: Path, port: int, stack: AsyncExitStack) -> Child:
    """Start a tool for large bodies and WebSockets."""
    command = (sys.executable, "-m", "bench.streams", str(port))
    process = await stack.enter_async_context(child("tool", *command, folder=folder))
    await process.listening(port)
    return process


async def _run_nginx(name: str, text: str, port: int, folder: Path, stack: AsyncExitStack) -> Child:
    path = folder / f"{name}.conf"
    path.write_text(text, encoding="ascii")
    command = (find_program("nginx"), "-e", "stderr", "-p", str(folder), "-c", str(path))
    process = await stack.enter_async_context(child(name, *command, folder=folder))
    await process.listening(port)
    return process


async def _nginx(folder: Path, tool_port: int, stack: AsyncExitStack) -> Door:
    port = free_port()
    text = nginx.proxy(folder, port, tool_port)
    return Door(NGINX, port, {"nginx": await _run_nginx("nginx", text, port, folder, stack)})


async def _node(folder: Path, tool_port: int, stack: AsyncExitStack) -> Door:
    program = NODE_PROXY / "bin/configurable-http-proxy"
    if not program.exists():
        raise BenchError(f"{NODE} is not installed: run scripts/install --dev")
    port = free_port()
    command = (
        *(find_program("node"), str(program), "--ip", "127.0.0.1", "--port", str(port)),
        *("--api-ip", "127.0.0.1", "--api-port", str(free_port())),
        *("--default-target", f"http://127.0.0.1:{tool_port}"),
    )
    process = await stack.enter_async_context(
        child(
            "node", *command, folder=folder, CONFIGPROXY_AUTH_TOKEN="bench", NODE_ENV="production"
        )
    )
    await process.listening(port)
    return Door(NODE, port, {"node": process})


async def _ours(folder: Path, tool_port: int, stack: AsyncExitStack) -> tuple[Door, Visitor]:
    edge = await open_edge(folder, new_session_id(), tool_port, stack)
    command = (sys.executable, "-m", "bench.session", str(folder / stand_in.SPEC_NAME))
    gateway = await stack.enter_async_context(child("gateway", *command, folder=folder))
    return Door(OURS, edge.port, {"edge": edge.process, "gateway": gateway}), edge.visitor


@dataclass(frozen=True, slots=True)
class Edge:
    """A running edge that knows one session; who may come in, and what the session's agent gets."""

    process: Child
    port: int
    visitor: Visitor
    spec: SessionSpec


async def open_edge(
    folder: Path, session_id: SessionId, tool_port: int, stack: AsyncExitStack
) -> Edge:
    """Start an edge, and a stand-in for its control plane, until `stack` ends."""
    port = free_port()
    role = (sys.executable, "-m")
    platform = await stack.enter_async_context(
        child(
            "stand-in",
            *(*role, "bench.stand_in", str(folder), session_id, str(port), str(tool_port)),
            folder=folder,
        )
    )
    visitor_file = folder / stand_in.VISITOR_NAME
    await platform.wrote(visitor_file)
    edge = await stack.enter_async_context(
        child(
            "edge",
            *(*role, "connect_proxy"),
            folder=folder,
            STUDIOS_EDGE_TOKEN_FILE=str(folder / stand_in.EDGE_TOKEN_NAME),
            STUDIOS_EDGE_CONNECT_DOMAIN=stand_in.connect_domain(port),
            STUDIOS_EDGE_CONTROL_PLANE_URL=f"unix:{folder / stand_in.SOCKET_NAME}",
            STUDIOS_EDGE_LISTEN_PORT=str(port),
        )
    )
    await edge.listening(port)
    visitor = decode(await asyncio.to_thread(visitor_file.read_bytes), Visitor)
    spec = parse(await asyncio.to_thread((folder / stand_in.SPEC_NAME).read_bytes))
    return Edge(edge, port, visitor, spec)


async def _answers(door: Door, visitor: Visitor) -> None:
    """Wait until `door` gives the right response to a request."""
    last: Exception | None = None
    try:
        async with asyncio.timeout(_READY_SECONDS_MAX):
            while (last := await _first_fault(door.port, visitor)) is not None:
                for process in door.processes.values():
                    process.must_run()
                await asyncio.sleep(_TRY_SECONDS)
    except TimeoutError:
        raise BenchError(f"{door.name} gives no right response: {last}") from None


async def _first_fault(port: int, visitor: Visitor) -> Exception | None:
    rate = 1 / _TRY_SECONDS
    try:
        await pace.measure(port, visitor, rate=rate, seconds=_TRY_SECONDS, connections=1)
    except (BenchError, OSError) as error:
        return error
    return None
