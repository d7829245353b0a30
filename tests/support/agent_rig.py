"""Small tools for the agent to supervise, a spec for them, and agents in processes of their own.

A tool runs either on a plain ground, in a folder of this machine (`tool_spec`), or in a session
(`session_tool`), which sees another `/`: nothing below /tmp, nothing of the project. A *place* is a
folder that it does see: see `place` in tests/agent/conftest.py.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
import zlib
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from agent.orphans import OrphanReaper
from agent.proctable import read_process
from common.ids import SessionId
from common.session_spec import (
    SPEC_VERSION,
    RootSpec,
    SessionSettings,
    SessionSpec,
    ToolSpec,
    VolumeLimits,
    WorkDirectory,
)
from common.wire import encode
from tests.support.fake_control_plane import RUN, TOKEN

if TYPE_CHECKING:
    import signal
    from collections.abc import AsyncIterator, Callable

ROOT = Path(__file__).parent.parent.parent
SESSION_PYTHON = "/usr/bin/python3"  # the environment that runs the tests is hidden from sessions
SMALL_VOLUME = VolumeLimits(
    initial_bytes=256 * 1024**2,
    free_bytes_min=64 * 1024**2,
    step_bytes=128 * 1024**2,
    limit_bytes=640 * 1024**2,
)

SERVE = """
import http.server, os, signal, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"hello")
    def log_message(self, *_): pass
def serve():
    address = ("127.0.0.1", int(os.environ["CONNECT_TOOL_PORT"]))
    print("serving", flush=True)
    http.server.ThreadingHTTPServer(address, Handler).serve_forever()
"""
"""Tools written by tests begin with this; `serve()` answers until the process ends."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tool_spec(folder: Path, source: str, *, readiness_seconds: float = 30.0) -> ToolSpec:
    """Return a tool that runs `source`, after SERVE, as a plain process in `folder`/workspace."""
    return _tool(sys.executable, folder, source, str(folder / "workspace"), readiness_seconds)


def session_tool(place: Path, source: str, *, readiness_seconds: float = 30.0) -> ToolSpec:
    """Return a tool that runs `source`, after SERVE, in a session that sees `place`."""
    return _tool(SESSION_PYTHON, place, source, "/workspace", readiness_seconds)


def _tool(
    python: str, folder: Path, source: str, working_directory: str, readiness_seconds: float
) -> ToolSpec:
    program = folder / "tool.py"
    program.write_text(SERVE + source, encoding="utf-8")
    return ToolSpec(
        name="Tool",
        command=(python, str(program)),
        port=free_port(),
        working_directory=working_directory,
        readiness_timeout_seconds=readiness_seconds,
    )


def session_spec(folder: Path, tool: ToolSpec, *, url: str, grace_seconds: float) -> SessionSpec:
    """Return a spec for the session that belongs to `folder`, and keeps its state in it."""
    return SessionSpec(
        version=SPEC_VERSION,
        session_id=session_id(folder),
        run_number=RUN,
        studio_name="demo",
        control_plane_url=url,
        edge_urls=(),
        session_host="a1234abcd.studio.localhost:9191",
        agent_token=TOKEN,
        token_keys="",
        tool=tool,
        environment={"GREETING": "hello"},
        host_state_dir=str(folder / "state"),
        work_directory=WorkDirectory(url=f"file://{folder}/work"),
        volume=SMALL_VOLUME,
        root=RootSpec(image="host"),
        settings=SessionSettings(stop_grace_seconds=grace_seconds),
    )


def session_id(folder: Path) -> SessionId:
    """Return an id of its own for each folder: cgroups of this machine are named after it."""
    return SessionId(f"{zlib.crc32(os.fsencode(folder)):08x}")


async def until(condition: Callable[[], object], *, what: str, seconds: float = 20.0) -> None:
    """Return once `condition` holds; fail with `what` if it never does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not within {seconds} s: {what}"
        await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Say whether there is such a process, and it isn't just waiting to be reaped."""
    facts = read_process(pid)
    return facts is not None and not facts.zombie


async def pid_in(path: Path) -> int:
    """Wait for a tool to put a pid there, by renaming, and return it."""

    def pid() -> int:
        return int(path.read_text()) if path.exists() else 0

    await until(pid, what=f"{path.name} is written")
    return pid()


def reap_adopted() -> None:
    """Reap what this process adopted during a test."""
    reaper = OrphanReaper()
    while reaper.reap():
        continue


class AgentProcess:
    """A running `python -m agent`."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path) -> None:
        self._process = process
        self._log = log
        self.pid = process.pid

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def exit_code(self) -> int:
        async with asyncio.timeout(40):
            return await self._process.wait()

    def log(self) -> str:
        return self._log.read_text()


@asynccontextmanager
async def running_agent(
    folder: Path, spec: bytes | SessionSpec, **environment: str
) -> AsyncIterator[AgentProcess]:
    """Start an agent with this spec; it is killed at the end if the test left it running.

    `folder` is where its spec and its log are put; `environment` is added to that of the test.
    """
    data = spec if isinstance(spec, bytes) else encode(spec)
    path = folder / "spec.json"
    path.touch(mode=0o600)
    path.write_bytes(data)
    log = folder / "agent.log"
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "agent",
            "--spec-file",
            str(path),
            cwd=ROOT,
            env={**os.environ, "SECRET_OF_THE_AGENT": "1", **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield AgentProcess(process, log)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
