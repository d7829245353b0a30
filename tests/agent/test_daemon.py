"""The daemon in this process: how a run begins, obeys, and ends."""

from __future__ import annotations

import asyncio
import fcntl
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from agent.parts import GroundTakenOverError
from agent.stopping import Requested
from common.messages import RunPhase, RunState, StepState, ToolPhase
from common.secret import Secret
from tests.support.agent_rig import lives, until
from tests.support.daemon_rig import daemon, running_daemon

if TYPE_CHECKING:
    from pathlib import Path

    from common.messages import StatusReport

STEPS = (
    *("no new requests", "stop the tool", "end the session", "save the files"),
    "unmount the volume",
)


async def hang() -> None:
    await asyncio.Event().wait()


def left_out(report: StatusReport) -> list[str]:
    return [step.name for step in report.stop_steps if step.message.startswith("left out")]


def saving(report: StatusReport) -> StepState | None:
    states = (step.state for step in report.stop_steps if step.name == "save the files")
    return next(states, None)


async def test_a_part_that_dies_of_a_bug_ends_the_run_as_failed_and_the_tool_with_it(
    tmp_path: Path,
) -> None:
    async with running_daemon(tmp_path) as it:
        tool = await it.works()
        it.connection.broken.set()
    assert it.exit_code == 1
    assert it.last.phase is RunPhase.FAILED
    assert it.last.message == "the agent failed: ZeroDivisionError('a bug')"
    assert not lives(tool)
    assert it.done[-5:] == ["leave", "save", "detach", "close", "close"]


async def test_a_superseded_run_stops_its_tool_and_says_so(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as it:
        tool = await it.works()
        await it.control_plane.wish(RunState.SUPERSEDED)
    assert it.exit_code == 0
    assert it.last.phase is RunPhase.SUPERSEDED
    assert left_out(it.last) == ["save the files"]
    assert "save" not in it.done
    assert not lives(tool)


async def test_a_forced_stop_does_not_wait_for_the_tool(tmp_path: Path) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    async with running_daemon(tmp_path, source) as it:
        await it.works()
        await it.control_plane.wish(RunState.STOP)
        await it.control_plane.reported(lambda report: report.tool.phase is ToolPhase.STOPPING)
        await it.control_plane.wish(RunState.FORCE_STOP)
    assert it.exit_code == 0
    assert it.last.phase is RunPhase.STOPPED
    assert left_out(it.last) == ["save the files"]


async def test_an_end_that_waits_for_the_work_directory_can_be_forced(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as it:
        await it.works()
        it.ground.before["save"] = hang
        await it.control_plane.wish(RunState.STOP)
        await it.control_plane.reported(lambda report: saving(report) is StepState.IN_PROGRESS)
        await it.control_plane.wish(RunState.FORCE_STOP)
    assert it.last.phase is RunPhase.STOPPED
    assert left_out(it.last) == ["save the files"]
    assert it.done[-3:] == ["detach", "close", "close"]


async def test_files_that_a_newer_run_has_taken_over_end_the_run_as_superseded(
    tmp_path: Path,
) -> None:
    async def refuse() -> None:
        raise GroundTakenOverError("Checkpoint 0 was sealed by run 9.")

    async with running_daemon(tmp_path) as it:
        await it.works()
        it.ground.before["save"] = refuse
        await it.control_plane.wish(RunState.STOP)
    assert it.last.phase is RunPhase.SUPERSEDED
    assert saving(it.last) is StepState.ERRORED


async def test_a_wish_to_save_now_reaches_the_files_once(tmp_path: Path) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    async with running_daemon(tmp_path) as it:
        plane = it.control_plane
        await it.works()
        plane.wished = msgspec.structs.replace(plane.wished, checkpoint_requested_at=now)
        await plane.wish(RunState.RUN)
        await until(lambda: it.ground.requests, what="the files are to be saved")
        await plane.wish(RunState.STOP)
    assert it.ground.requests == [now]


async def test_the_stop_goes_from_requests_to_tool_to_session_to_files_to_volume(
    tmp_path: Path,
) -> None:
    async with running_daemon(tmp_path) as it:
        await it.works()
        assert it.connection.wiring is not None
        assert it.connection.wiring.is_ready()
        await it.control_plane.wish(RunState.STOP, "by Ada")
    assert it.done == ["make", "refuse", "end_all", "leave", "save", "detach", "close", "close"]
    assert tuple(step.name for step in it.last.stop_steps) == STEPS
    assert it.last.message == "by Ada"


async def test_the_step_that_takes_long_is_reported_while_it_does(tmp_path: Path) -> None:
    written = asyncio.Event()
    async with running_daemon(tmp_path) as it:

        async def write() -> None:
            await written.wait()

        await it.works()
        it.ground.before["detach"] = write
        await it.control_plane.wish(RunState.STOP)
        slow = await it.control_plane.reported(
            lambda report: (
                any(step.state is StepState.IN_PROGRESS for step in report.stop_steps)
                and report.stop_steps[-1].state is not StepState.PENDING
            )
        )
        written.set()
    assert slow.phase is RunPhase.STOPPING
    assert [step.state for step in slow.stop_steps] == [
        *[StepState.SUCCEEDED] * 4,
        StepState.IN_PROGRESS,
    ]


async def test_a_renewed_token_is_used_for_reports_and_tunnels(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as it:
        plane = it.control_plane
        await it.works()
        plane.wished = msgspec.structs.replace(plane.wished, agent_token=Secret("newer"))
        await plane.wish(RunState.RUN)
        await until(lambda: it.connection.tokens, what="the tunnel got it")
        await plane.wish(RunState.STOP)
    assert it.connection.tokens == [Secret("newer")]
    assert it.control_plane.tokens[-1] == Secret("newer")


async def test_an_unknown_variable_in_the_command_fails_the_run_with_a_sentence(
    tmp_path: Path,
) -> None:
    async with daemon(tmp_path) as it:
        tool = msgspec.structs.replace(it.spec.tool, command=("x", "${NOWHERE}"))
        it.spec = msgspec.structs.replace(it.spec, tool=tool)
        await it.run()
    assert it.exit_code == 1
    assert [report.phase for report in it.control_plane.reports] == [RunPhase.FAILED]
    assert "${NOWHERE}" in it.last.message


async def test_a_run_that_is_stopped_while_it_waits_for_its_folder_ends(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    with (state / "agent.lock").open("w") as former:
        former.write("4711\n")
        former.flush()
        fcntl.flock(former, fcntl.LOCK_EX)
        async with daemon(tmp_path) as it:
            it.stop.ask(Requested("told to"))
            await it.run()
    assert it.exit_code == 1
    assert "another agent of this session (process 4711)" in it.last.message


async def test_a_folder_that_cannot_be_made_fails_the_run_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    async with daemon(tmp_path) as it:
        await it.run()
    assert it.exit_code == 1
    assert "the session's folder can't be used" in it.last.message
