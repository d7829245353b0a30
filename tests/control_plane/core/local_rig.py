"""The `local` engine with a stand-in for the agent, as the contract suite wants it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from common.clock import SteppingClock
from control_plane.engines.local import LocalEngine
from tests.control_plane.core.engine_contract import SESSION
from tests.support.control_plane_core import spec_of

if TYPE_CHECKING:
    from common.ids import SessionId
    from common.session_spec import SessionSpec
    from control_plane.engines.engine import Job

STAND_IN = Path(__file__).parents[2] / "support" / "stand_in_agent.py"


class LocalRig:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = SteppingClock()
        self.command: tuple[str, ...] = (sys.executable, "-I", "-S", str(STAND_IN))
        self.restart()

    @property
    def session(self) -> Path:
        """The folder of the contract suite's first session."""
        return self.folder / SESSION

    def spec(self, session_id: SessionId, run: int) -> SessionSpec:
        return spec_of(session_id, run, self.folder)

    def restart(self) -> None:
        self.engine = LocalEngine(self.folder, self.clock, agent_command=self.command)

    def deafen(self) -> None:
        self.command = (*self.command, "--deaf")
        self.restart()

    async def is_up(self, job: Job) -> None:
        await exists(self.folder / job.session_id / "seen-spec.json")

    def crash(self, job: Job) -> None:
        os.kill(self.pid(job.session_id), signal.SIGKILL)

    def pid(self, session_id: SessionId) -> int:
        record = json.loads((self.folder / session_id / "job.json").read_text())
        assert isinstance(record["pid"], int)
        return record["pid"]

    def living(self, session_id: SessionId) -> int:
        """Count agents. A child that is about to be something else still looks like its parent."""
        folder = str(self.folder / session_id)
        agents = {
            process.pid: process.info["ppid"]
            for process in psutil.process_iter(["cmdline", "ppid"])
            if folder in " ".join(process.info["cmdline"] or ())
            and "--spec-file" in process.info["cmdline"]
        }
        return sum(parent not in agents for parent in agents.values())

    def left(self, session_id: SessionId) -> int:
        """Count what lives of this session, its first process too."""
        return sum(str(self.folder / session_id) in line for line in command_lines())

    async def advance(self, seconds: float) -> None:
        await self.clock.advance(seconds)

    def close(self) -> None:
        """End what the test started, nothing else."""
        for process in psutil.process_iter(["cmdline"]):
            if any(str(self.folder) in argument for argument in process.info["cmdline"] or ()):
                process.kill()


def command_lines() -> list[str]:
    lines = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                continue
            if "launch.py" not in line:
                lines.append(line)
    return lines


async def exists(path: Path) -> None:
    async with asyncio.timeout(10):
        while not await asyncio.to_thread(path.exists):
            pass
