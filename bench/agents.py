"""Agents as engines start them, with a stand-in for the control plane: sessions of benchmarks."""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from agent.session_record import SessionRecord
from bench.processes import BenchError, Child, child
from common.clock import SystemClock
from common.messages import RunPhase, RunState
from common.wire import decode, encode
from tests.support.fake_control_plane import FakeControlPlane, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path

    from common.messages import StatusReport
    from common.session_spec import SessionSpec

STATE_NAME = "session"  # in the benchmark's folder; no session sees it
_STOP_SECONDS_MAX = 60.0  # twice the tool's grace
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Agent:
    """A running agent, and who hears from it."""

    process: Child
    folder: Path
    state: Path
    """What outlives it: the volume, the log of the tool."""
    begun: datetime
    begun_ns: int
    """The instant before its process was made, in calendar time and of `monotonic_ns`."""
    control_plane: FakeControlPlane

    async def running(self) -> float:
        """Wait until it reports that its tool answers; return the seconds since it was begun."""
        try:
            report = await self.control_plane.reported(_is_decided)
        except TimeoutError:
            self.process.must_run()
            raise BenchError(f"the agent does not get its tool to run: {self.log()}") from None
        if report.phase is not RunPhase.RUNNING:
            raise BenchError(f"the session failed: {report.message}")
        return (monotonic_ns() - self.begun_ns) / _BILLION

    async def stop(self) -> float:
        """Stop the session as a user does; return the seconds until the agent has ended."""
        begun_ns = monotonic_ns()
        await self.control_plane.wish(RunState.STOP)
        await self.process.ended(seconds_max=_STOP_SECONDS_MAX)
        return (monotonic_ns() - begun_ns) / _BILLION

    def first_process(self) -> int:
        """Return the host's pid of the session's first process."""
        return decode((self.state / "session.pid").read_bytes(), SessionRecord).pid

    def log(self) -> str:
        """Return what it wrote, a JSON document a line."""
        return (self.folder / "agent.log").read_text(encoding="utf-8")


@asynccontextmanager
async def agent(folder: Path, spec: SessionSpec, *, module: str = "agent") -> AsyncIterator[Agent]:
    """Start an agent while inside; its volume is in `folder`, made if there is none.

    `module` is what is run as one.

    If the session is not stopped inside, it is at the end.
    """
    path, state = folder / "agent-spec.json", folder / STATE_NAME
    async with serving() as control_plane:
        control_plane.wished = msgspec.structs.replace(
            control_plane.wished, run_number=spec.run_number
        )
        path.touch(mode=0o600)
        path.write_bytes(
            encode(
                msgspec.structs.replace(
                    spec, control_plane_url=control_plane.url, host_state_dir=str(state)
                )
            )
        )
        begun, begun_ns = SystemClock().now(), monotonic_ns()
        command = (sys.executable, "-m", module, "--spec-file", str(path))
        async with child("agent", *command, folder=folder) as process:
            yield Agent(process, folder, state, begun, begun_ns, control_plane)


def _is_decided(report: StatusReport) -> bool:
    return report.phase in {RunPhase.RUNNING, RunPhase.FAILED}
