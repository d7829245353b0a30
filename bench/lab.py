"""JupyterLab, the tool that most people start: in a session, and as a plain process."""

from __future__ import annotations

import asyncio
import signal
from dataclasses import dataclass
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

from agent.supervisor.environment import tool_environment
from agent.supervisor.plain_http import NoAnswerError, get
from bench.machine import TEMPLATES
from bench.processes import BenchError, child, free_port
from common.http1.lane import TcpAddress
from common.session_spec import ToolSpec
from common.templates import load_templates

if TYPE_CHECKING:
    from bench.processes import Child

_TEMPLATE = "jupyterlab"
_ANSWER_SECONDS_MAX = 60.0  # with cold files on a slow disk
_END_SECONDS_MAX = 20.0
_POLL_SECONDS = 0.01
_OK = 200
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class PlainStart:
    """What the tool takes by itself."""

    seconds: float
    stop_seconds: float


def lab() -> ToolSpec:
    """Return JupyterLab as its template describes it."""
    facts = load_templates(TEMPLATES)[_TEMPLATE]
    if not Path(facts.command[0]).exists():
        raise BenchError(f"{facts.title} is not installed: run scripts/install")
    return ToolSpec(
        name=facts.title,
        command=tuple(facts.command),
        port=free_port(),
        working_directory="/workspace",
        readiness_path=facts.readiness_path,
        activity=facts.activity,
    )


async def start_plainly(tool: ToolSpec, folder: Path) -> PlainStart:
    """Start it with an empty home in `folder` and no session around it, until it answers; end it.

    Its environment is a session's but for its home.
    """
    home, workspace = folder / "home", folder / "workspace"
    home.mkdir(parents=True)
    workspace.mkdir()
    variables = tool_environment(tool, {}) | {"HOME": str(home)}
    settings = [f"{name}={value}" for name, value in variables.items()]
    command = ("env", "-i", f"--chdir={workspace}", *settings, *tool.command)
    begun_ns = monotonic_ns()
    async with child("lab", *command, folder=folder) as process:
        await _answers(process, tool)
        answered_ns = monotonic_ns()
        process.send_signal(signal.SIGTERM)
        await process.ended(seconds_max=_END_SECONDS_MAX)
        ended_ns = monotonic_ns()
    return PlainStart((answered_ns - begun_ns) / _BILLION, (ended_ns - answered_ns) / _BILLION)


async def _answers(process: Child, tool: ToolSpec) -> None:
    address = TcpAddress("127.0.0.1", tool.port)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS_MAX):
            while not await _is_well(address, tool.readiness_path):
                process.must_run()
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise BenchError(f"{tool.name} does not answer") from None


async def _is_well(address: TcpAddress, path: str) -> bool:
    try:
        status, _ = await get(address, path, limit_seconds=_ANSWER_SECONDS_MAX, with_body=False)
    except NoAnswerError:
        return False
    return status == _OK
