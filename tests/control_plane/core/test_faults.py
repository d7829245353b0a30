"""What breaks around a session, on the real service, database and reconciler."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from common.ids import RunNumber
from common.messages import RunPhase, RunState
from control_plane.engines.engine import EngineRefusedError, EngineUnavailableError
from control_plane.model import JobStanding, Status, StopReason
from control_plane.settings import Limits

if TYPE_CHECKING:
    from tests.support.core_plane import Plane


async def test_agent_killed_is_errored_with_a_reason_and_starts_again(plane: Plane) -> None:
    studio = await plane.running()
    plane.probe.ok = False
    plane.host.end(studio.session_id, RunNumber(1), "killed by SIGKILL")
    await plane.clock.advance(20)
    await plane.reconciler.run_once()
    assert (await plane.get(studio)).status is Status.RUNNING
    await plane.clock.advance(6)
    await plane.reconciler.run_once()
    errored = await plane.get(studio)
    assert (errored.status, errored.stop_reason) == (Status.ERRORED, StopReason.NO_STATS_AVAIL)
    assert "killed by SIGKILL" in errored.status_message
    await plane.service.start(plane.admin, studio.session_id)
    running = await plane.run_until(studio, "running")
    assert (running.run_number, running.stop_reason) == (2, None)


async def test_failed_probe_never_stops_a_session(plane: Plane) -> None:
    studio = await plane.running()
    plane.probe.ok = False
    for _ in range(20):
        await plane.clock.advance(20)
        await plane.reconciler.run_once()
    assert plane.probe.asked > 10
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_engine_that_can_not_tell_never_stops_a_session(plane: Plane) -> None:
    studio = await plane.running()
    plane.probe.ok, plane.engine.is_blind = False, True
    for _ in range(30):
        await plane.clock.advance(20)
        await plane.reconciler.run_once()
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_health_is_asked_after_ninety_seconds_and_before_the_engine(plane: Plane) -> None:
    studio = await plane.running()
    plane.engine.is_blind = True
    for _ in range(8):
        await plane.clock.advance(10)
        await plane.reconciler.run_once()
    assert plane.probe.asked == 0
    plane.engine.is_blind = False
    plane.host.end(studio.session_id, RunNumber(1))  # the engine would say gone, but isn't asked
    await plane.clock.advance(10)
    await plane.reconciler.run_once()
    assert plane.probe.asked == 1
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_error_reported_while_running_is_overwritten_by_running(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    agent.phase, agent.message = RunPhase.FAILED, "disk full"
    await agent.speak(plane)
    errored = await plane.get(studio)
    assert (errored.status, errored.status_message) == (Status.ERRORED, "disk full")
    agent.phase, agent.message = RunPhase.RUNNING, ""
    await agent.speak(plane)
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_agent_of_an_older_run_is_superseded_and_changes_nothing(plane: Plane) -> None:
    studio = await plane.running()
    old = plane.agent(studio, 1)
    plane.host.end(studio.session_id, RunNumber(1))
    plane.probe.ok = False
    await plane.clock.advance(95)
    await plane.reconciler.run_once()
    await plane.service.start(plane.admin, studio.session_id)
    before = await plane.run_until(studio, "running")
    old.phase = RunPhase.FAILED
    assert (await old.speak(plane)).run_state is RunState.SUPERSEDED
    assert msgspec.structs.replace(await plane.get(studio), report=None) == (
        msgspec.structs.replace(before, report=None)
    )


async def test_newer_run_than_the_database_knows_is_adopted(plane: Plane) -> None:
    # the database was restored from a backup
    studio = await plane.create()
    agent = plane.agent(studio, 7)
    agent.phase = RunPhase.RUNNING
    assert (await agent.speak(plane)).run_state is RunState.RUN
    adopted = await plane.get(studio)
    assert (adopted.status, adopted.run_number) == (Status.RUNNING, 7)


async def test_repeated_and_overtaken_reports_change_nothing(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    agent.phase = RunPhase.STARTING
    overtaken = agent.report(plane.clock)
    agent.phase = RunPhase.RUNNING
    await agent.speak(plane)
    before = await plane.get(studio)
    for _ in range(2):
        await plane.service.record_report(studio.session_id, RunNumber(1), overtaken)
        assert await plane.get(studio) == before


async def test_engine_refusal_is_errored_with_its_reason(plane: Plane) -> None:
    plane.engine.trouble = [EngineRefusedError("no such GPU here")]
    studio = await plane.create(auto_start=True)
    await plane.reconciler.run_once()
    errored = await plane.get(studio)
    assert (errored.status, errored.status_message) == (Status.ERRORED, "no such GPU here")
    await plane.turn()
    assert (await plane.get(studio)).job is JobStanding.NONE


async def test_engine_trouble_is_tried_again_then_given_up(plane: Plane) -> None:
    plane.engine.trouble = [EngineUnavailableError("Away.")] * 3
    studio = await plane.create(auto_start=True)
    running = await plane.run_until(studio, "running")
    assert running.submit_attempts == 3
    plane.engine.trouble = [EngineUnavailableError("Away.")] * 100
    other = await plane.create("other", auto_start=True)
    for _ in range(20):
        await plane.turn(60)
    errored = await plane.get(other)
    assert errored.status is Status.ERRORED
    assert "Given up after 12 attempts" in errored.status_message


async def test_control_plane_away_for_five_minutes_heals_from_reports(plane: Plane) -> None:
    served, crashed, finished = [await plane.running(name) for name in ("a", "b", "c")]
    versions = (await plane.get(served)).desired_version
    # nobody hears the agents; two sessions end meanwhile, one of them in order
    await plane.clock.advance(100)
    plane.host.end(crashed.session_id, RunNumber(1), "killed")
    plane.agent(finished, 1).phase = RunPhase.STOPPED
    await plane.clock.advance(200)
    await plane.restart()
    plane.probe.ok = False
    await plane.reconciler.run_once()
    # its own absence is not taken for the agents' silence
    assert plane.probe.asked == 0
    for studio in (served, crashed, finished):
        assert (await plane.get(studio)).status is Status.RUNNING
    await plane.agent(finished, 1).speak(plane)
    for _ in range(12):
        await plane.turn(10)
    healed = await plane.get(served)
    assert (healed.status, healed.desired_version) == (Status.RUNNING, versions)
    assert (await plane.get(crashed)).stop_reason is StopReason.NO_STATS_AVAIL
    assert (await plane.get(finished)).status is Status.STOPPED
    assert plane.host.living(served.session_id) == [1]


async def test_stop_made_before_a_crash_is_carried_out_after_it(plane: Plane) -> None:
    studio = await plane.running()
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.restart()
    await plane.run_until(studio, "stopped")


async def test_crash_between_intent_and_submit_submits_once(plane: Plane) -> None:
    plane.engine.trouble = [EngineUnavailableError("killed here")]
    studio = await plane.create(auto_start=True)
    await plane.reconciler.run_once()
    assert (await plane.get(studio)).job is JobStanding.INTENDED
    await plane.restart()
    await plane.run_until(studio, "running")
    assert list(plane.host.agents) == [(studio.session_id, 1)]


async def test_start_after_an_error_ends_the_old_job_first(plane: Plane) -> None:
    plane.host.agents_obey = False
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    agent.phase = RunPhase.FAILED
    await agent.speak(plane)
    await plane.service.start(plane.admin, studio.session_id)
    for _ in range(60):
        await plane.reconciler.run_once()
        assert len(plane.host.living(studio.session_id)) <= 1
        await plane.clock.advance(Limits().stop_grace_seconds / 50)
    assert plane.host.living(studio.session_id) == [2]


async def test_deleted_while_errored_ends_its_job(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    agent.phase = RunPhase.FAILED
    await agent.speak(plane)
    await plane.service.delete(plane.admin, studio.session_id)
    for _ in range(5):
        await plane.clock.advance(11)
        await plane.reconciler.run_once()
    assert plane.host.living(studio.session_id) == []
    assert studio.session_id not in plane.host.state
