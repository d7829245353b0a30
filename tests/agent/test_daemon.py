"""The daemon in this process, with a stand-in for gateway and tunnel."""

from __future__ import annotations

import asyncio
import fcntl
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.daemon import serve
from agent.stopping import Requested, StopRequest
from common.clock import SystemClock
from common.messages import RunPhase, RunState, StepState, ToolPhase, TunnelStatus
from common.secret import Secret
from tests.support.agent_rig import lives, session_spec, tool_spec, until
from tests.support.fake_control_plane import FakeControlPlane, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.parts import Door, Road, Wiring
    from common.session_spec import SessionSpec


class FakeConnection:
    """Door and road in one: notes what the daemon does to it."""

    requests = 0

    def __init__(self) -> None:
        self.wiring: Wiring | None = None
        self.done: list[str] = []
        self.tokens: list[Secret] = []
        self.broken = asyncio.Event()

    def __call__(self, wiring: Wiring) -> tuple[Door, Road]:
        self.wiring = wiring
        return self, self

    async def run(self) -> None:
        await self.broken.wait()
        raise ZeroDivisionError("a bug")

    def refuse_new(self) -> None:
        self.done.append("refuse")

    def status(self) -> TunnelStatus:
        return TunnelStatus(connected=True)

    def renew(self, token: Secret) -> None:
        self.tokens.append(token)

    async def close(self) -> None:
        self.done.append("close")


class Session:
    """A daemon under test and all around it."""

    def __init__(self, control_plane: FakeControlPlane, spec: SessionSpec) -> None:
        self.control_plane = control_plane
        self.spec = spec
        self.stop = StopRequest()
        self.connection = FakeConnection()
        self.exit_code: int | None = None

    async def run(self) -> None:
        self.exit_code = await serve(
            self.spec,
            self.stop,
            connect=self.connection,
            clock=SystemClock(),
            rng=random.Random(1),
        )


@asynccontextmanager
async def session(folder: Path, source: str = "serve()") -> AsyncIterator[Session]:
    """Run a daemon beside the block, which must make it end."""
    async with serving() as control_plane:
        tool = tool_spec(folder, source)
        spec = session_spec(folder, tool, url=control_plane.url, grace_seconds=5)
        it = Session(control_plane, spec)
        async with asyncio.TaskGroup() as group:
            group.create_task(it.run())
            yield it


async def test_a_part_that_dies_of_a_bug_ends_the_run_as_failed_and_the_tool_with_it(
    tmp_path: Path,
) -> None:
    async with session(tmp_path) as it:
        running = await it.control_plane.reached(RunPhase.RUNNING)
        it.connection.broken.set()
    assert it.exit_code == 1
    last = it.control_plane.reports[-1]
    assert last.phase is RunPhase.FAILED
    assert last.message == "the agent failed: ZeroDivisionError('a bug')"
    assert running.tool.pid is not None
    assert not lives(running.tool.pid)


async def test_a_superseded_run_stops_its_tool_and_says_so(tmp_path: Path) -> None:
    async with session(tmp_path) as it:
        running = await it.control_plane.reached(RunPhase.RUNNING)
        await it.control_plane.wish(RunState.SUPERSEDED)
    assert it.exit_code == 0
    assert it.control_plane.reports[-1].phase is RunPhase.SUPERSEDED
    assert running.tool.pid is not None
    assert not lives(running.tool.pid)


async def test_a_forced_stop_does_not_wait_for_the_tool(tmp_path: Path) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    async with session(tmp_path, source) as it:
        await it.control_plane.reached(RunPhase.RUNNING)
        await it.control_plane.wish(RunState.STOP)
        await it.control_plane.reported(lambda report: report.tool.phase is ToolPhase.STOPPING)
        await it.control_plane.wish(RunState.FORCE_STOP)
    assert it.exit_code == 0
    last = it.control_plane.reports[-1]
    assert last.phase is RunPhase.STOPPED
    assert [step.state for step in last.stop_steps] == [StepState.SUCCEEDED] * 2


async def test_the_stop_sequence_refuses_requests_first_and_closes_the_tunnel_last(
    tmp_path: Path,
) -> None:
    async with session(tmp_path) as it:
        await it.control_plane.reached(RunPhase.RUNNING)
        assert it.connection.wiring is not None
        assert it.connection.wiring.is_ready()
        await it.control_plane.wish(RunState.STOP, "by Ada")
    assert it.connection.done == ["refuse", "close", "close"]  # road and door
    assert it.control_plane.reports[-1].message == "by Ada"


async def test_a_renewed_token_is_used_for_reports_and_tunnels(tmp_path: Path) -> None:
    async with session(tmp_path) as it:
        plane = it.control_plane
        await plane.reached(RunPhase.RUNNING)
        plane.wished = msgspec.structs.replace(plane.wished, agent_token=Secret("newer"))
        await plane.wish(RunState.RUN)
        await until(lambda: it.connection.tokens, what="the tunnel got it")
        await plane.wish(RunState.STOP)
    assert it.connection.tokens == [Secret("newer")]
    assert it.control_plane.tokens[-1] == Secret("newer")


async def test_an_unknown_variable_in_the_command_fails_the_run_with_a_sentence(
    tmp_path: Path,
) -> None:
    async with serving() as control_plane:
        tool = msgspec.structs.replace(tool_spec(tmp_path, ""), command=("x", "${NOWHERE}"))
        spec = session_spec(tmp_path, tool, url=control_plane.url, grace_seconds=5)
        it = Session(control_plane, spec)
        await it.run()
    assert it.exit_code == 1
    assert [report.phase for report in control_plane.reports] == [RunPhase.FAILED]
    assert "${NOWHERE}" in control_plane.reports[0].message


async def test_a_run_that_is_stopped_while_it_waits_for_its_folder_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with (state / "agent.lock").open("w") as former:
        former.write("4711\n")
        former.flush()
        fcntl.flock(former, fcntl.LOCK_EX)
        async with serving() as control_plane:
            spec = session_spec(
                tmp_path, tool_spec(tmp_path, ""), url=control_plane.url, grace_seconds=5
            )
            it = Session(control_plane, spec)
            it.stop.ask(Requested("told to"))
            await it.run()
    assert it.exit_code == 1
    assert "another agent of this session (process 4711)" in control_plane.reports[0].message


async def test_a_folder_that_cannot_be_made_fails_the_run_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    async with serving() as control_plane:
        spec = session_spec(
            tmp_path, tool_spec(tmp_path, ""), url=control_plane.url, grace_seconds=5
        )
        it = Session(control_plane, spec)
        await it.run()
    assert it.exit_code == 1
    assert "the session's folder can't be used" in control_plane.reports[0].message
