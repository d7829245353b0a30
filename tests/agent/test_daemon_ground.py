"""The daemon and its ground: made slowly or never, lost, hard to end, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from agent.parts import GroundFailedError, GroundStatus, Use
from agent.root.session import SessionStillEndingError
from agent.volume.volume import StillInUseError
from common.messages import RootStatus, RunPhase, RunState, StepState, ToolPhase, VolumeStatus
from tests.support.agent_rig import lives, until
from tests.support.daemon_rig import daemon, running_daemon
from tests.support.plain_ground import LOST

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from common.messages import StatusReport, StopStepStatus

SUCCEEDED, ERRORED = StepState.SUCCEEDED, StepState.ERRORED
ROOT = RootStatus(memory_kills=("python3",), memory_kill_count=1, process_limit_hits=2)
VOLUME = VolumeStatus(size_bytes=2048, free_bytes=512, limit_bytes=4096, full=True)


def fails(error: Exception) -> Callable[[], Awaitable[None]]:
    async def act() -> None:
        raise error

    return act


async def hang() -> None:
    await asyncio.Event().wait()


def being_made(report: StatusReport) -> bool:
    return report.phase is RunPhase.STARTING and report.message == "its session is being made"


def steps(report: StatusReport) -> dict[str, tuple[StepState, str]]:
    def result(step: StopStepStatus) -> tuple[StepState, str]:
        return step.state, step.message

    return {step.name: result(step) for step in report.stop_steps}


# ── Making ───────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("state", [RunState.STOP, RunState.FORCE_STOP])
async def test_a_stop_while_the_session_is_being_made_ends_the_making_and_is_a_stop(
    tmp_path: Path, state: RunState
) -> None:
    async with daemon(tmp_path) as it, asyncio.TaskGroup() as group:
        it.ground.before["make"] = hang
        group.create_task(it.run())
        await it.control_plane.reported(being_made)
        await it.control_plane.wish(state)
    assert it.exit_code == 0
    assert it.last.phase is RunPhase.STOPPED
    saved = [] if state is RunState.FORCE_STOP else ["save"]
    not_made = ["refuse", "leave", *saved, "detach", "close", "close"]
    assert it.done == not_made
    left_out = [step.name for step in it.last.stop_steps if step.state is not SUCCEEDED]
    assert left_out == ([] if saved else ["save the files"])
    assert it.last.tool.pid is None


async def test_a_run_that_is_superseded_while_its_session_is_being_made_ends(
    tmp_path: Path,
) -> None:
    async with daemon(tmp_path) as it, asyncio.TaskGroup() as group:
        it.ground.before["make"] = hang
        group.create_task(it.run())
        await it.control_plane.reported(being_made)
        await it.control_plane.wish(RunState.SUPERSEDED)
    assert it.last.phase is RunPhase.SUPERSEDED
    assert it.done == ["refuse", "leave", "detach", "close", "close"]


async def test_a_bug_while_the_session_is_being_made_takes_away_what_there_is(
    tmp_path: Path,
) -> None:
    async with daemon(tmp_path) as it, asyncio.TaskGroup() as group:
        it.ground.before["make"] = hang
        group.create_task(it.run())
        await it.control_plane.reported(being_made)
        it.connection.broken.set()
    assert it.last.phase is RunPhase.FAILED
    assert it.done == ["refuse", "leave", "save", "detach", "close", "close"]


async def test_a_session_that_cannot_be_made_fails_the_run_with_its_sentence(
    tmp_path: Path,
) -> None:
    sentence = "The session can't be made: no loop device is left."
    async with daemon(tmp_path) as it:
        it.ground.before["make"] = fails(GroundFailedError(sentence))
        await it.run()
    assert it.exit_code == 1
    assert (it.last.phase, it.last.message) == (RunPhase.FAILED, sentence)
    assert it.done == ["refuse", "leave", "save", "detach", "close", "close"]


# ── Standing ─────────────────────────────────────────────────────────────────


async def test_a_session_that_is_lost_while_it_runs_fails_the_run(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as it:
        tool = await it.works()
        it.ground.lose()
    assert it.exit_code == 1
    assert (it.last.phase, it.last.message) == (RunPhase.FAILED, LOST)
    assert not lives(tool)
    assert [step.state for step in it.last.stop_steps] == [SUCCEEDED] * 5
    assert it.done[-5:] == ["leave", "save", "detach", "close", "close"]


async def test_a_session_that_is_lost_while_it_stops_has_still_failed(tmp_path: Path) -> None:
    source = "signal.signal(signal.SIGTERM, signal.SIG_IGN); serve()"
    async with running_daemon(tmp_path, source) as it:
        await it.works()
        await it.control_plane.wish(RunState.STOP)
        await it.control_plane.reported(lambda report: report.tool.phase is ToolPhase.STOPPING)
        it.ground.lose()
    assert (it.last.phase, it.last.message) == (RunPhase.FAILED, LOST)


async def test_limits_and_warnings_are_in_report_health_and_metrics(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it, asyncio.TaskGroup() as group:
        it.ground.said = GroundStatus(ROOT, VOLUME, ("The session has no cgroup.",))
        it.ground.grown = (7, 3)
        group.create_task(it.run(warnings=("The agent has no capability.",)))
        await it.works()
        assert it.connection.wiring is not None
        reserved = it.connection.wiring.reserved
        health = await reserved.answer("GET", "/.studio/health", {})
        metrics = await reserved.answer("GET", "/.studio/metrics", {})
        await it.control_plane.wish(RunState.STOP)
    assert it.last.root == ROOT
    assert it.last.volume == VOLUME
    assert it.last.warnings == ("The agent has no capability.", "The session has no cgroup.")
    assert isinstance(health.body, bytes)
    answer = json.loads(health.body)
    assert (health.status, answer["message"]) == (503, "the volume is full")
    assert answer["root"] == "limits were reached"
    assert answer["volume"]["freeBytes"] == 512
    assert isinstance(metrics.body, bytes)
    for line in (
        "studio_volume_size_bytes 2048.0",
        "studio_volume_free_bytes 512.0",
        "studio_volume_limit_bytes 4096.0",
        "studio_volume_full 1.0",
        "studio_volume_growths_total 7.0",
        "studio_volume_growth_failures_total 3.0",
        "studio_memory_kills_total 1.0",
        "studio_process_limit_hits_total 2.0",
    ):
        assert f"\n{line}\n" in metrics.body.decode()


async def test_what_its_programs_use_is_in_the_report(tmp_path: Path) -> None:
    async with daemon(tmp_path) as it, asyncio.TaskGroup() as group:
        interval = 0.01
        it.set(statistics_interval_seconds=interval, status_interval_seconds=interval)
        it.ground.used = Use(cpu_seconds=1.0, memory_bytes=4096, processes=3)
        group.create_task(it.run())
        measured = await it.control_plane.reported(lambda report: report.tool.resources is not None)
        await it.control_plane.wish(RunState.STOP)
    use = measured.tool.resources
    assert use is not None
    assert (use.cpu_percent, use.memory_bytes, use.processes) == (0.0, 4096, 3)


# ── Ending ───────────────────────────────────────────────────────────────────


async def test_a_step_that_fails_is_told_and_the_next_ones_are_done(tmp_path: Path) -> None:
    async with running_daemon(tmp_path) as it:
        await it.works()
        it.connection.refusal_fails = True
        it.ground.before["leave"] = fails(SessionStillEndingError("processes survive SIGKILL"))
        it.ground.before["detach"] = fails(StillInUseError("the volume is in use"))
        await it.control_plane.wish(RunState.STOP)
    assert it.exit_code == 0
    assert it.last.phase is RunPhase.STOPPED
    assert steps(it.last) == {
        "no new requests": (ERRORED, "OSError: the gateway is stuck"),
        "stop the tool": (SUCCEEDED, ""),
        "end the session": (ERRORED, "SessionStillEndingError: processes survive SIGKILL"),
        "save the files": (SUCCEEDED, ""),
        "unmount the volume": (ERRORED, "StillInUseError: the volume is in use"),
    }


async def test_a_step_that_hangs_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.ending.LEAVE_SECONDS_MAX", 0.1)
    async with running_daemon(tmp_path) as it:
        await it.works()
        it.ground.before["leave"] = hang
        await it.control_plane.wish(RunState.STOP)
    assert it.last.phase is RunPhase.STOPPED
    found = steps(it.last)
    assert found["end the session"] == (ERRORED, "not done within 0 s")
    assert found["unmount the volume"] == (SUCCEEDED, "")


async def test_processes_that_nothing_can_end_do_not_keep_the_session_from_ending(
    tmp_path: Path,
) -> None:
    async with running_daemon(tmp_path) as it:
        await it.works()
        it.ground.stubborn = True
        await it.control_plane.wish(RunState.STOP)
    assert it.last.phase is RunPhase.STOPPED
    assert it.done[-5:] == ["leave", "save", "detach", "close", "close"]


async def test_a_force_abandons_the_step_in_progress_and_does_it_by_force(tmp_path: Path) -> None:
    calls = 0

    async def hang_once() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await hang()

    async with running_daemon(tmp_path) as it:
        await it.works()
        it.ground.before["detach"] = hang_once
        await it.control_plane.wish(RunState.STOP)
        await until(lambda: calls, what="it is detaching")
        await it.control_plane.wish(RunState.FORCE_STOP)
    assert it.last.phase is RunPhase.STOPPED
    assert steps(it.last)["unmount the volume"] == (SUCCEEDED, "")
    assert calls == 2
