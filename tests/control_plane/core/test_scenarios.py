"""The life of a session on the real service, database and reconciler; host and agents are fakes."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from common.ids import RunNumber
from common.messages import RunPhase, RunState
from control_plane.engines.engine import EngineUnavailableError
from control_plane.errors import ConflictError, NotFoundError
from control_plane.model import JobStanding, SessionConfiguration, Status, StopReason
from control_plane.schema import audit_events
from control_plane.validation import StartStudio

if TYPE_CHECKING:
    from tests.support.core_plane import Plane


async def test_start_runs_once_the_tool_answers(plane: Plane) -> None:
    studio = await plane.create(auto_start=True)
    assert (studio.status, studio.run_number) == (Status.STARTING, 1)
    await plane.reconciler.run_once()
    agent = plane.agent(studio, 1)
    await agent.speak(plane)
    assert (await plane.get(studio)).status is Status.STARTING
    agent.phase = RunPhase.RUNNING
    assert (await agent.speak(plane)).run_state is RunState.RUN
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_stop_is_stopped_only_once_the_job_is_gone(plane: Plane) -> None:
    studio = await plane.running()
    await plane.service.stop(plane.admin, studio.session_id)
    agent = plane.agent(studio, 1)
    assert (await agent.speak(plane)).run_state is RunState.STOP
    agent.phase = RunPhase.STOPPED
    await agent.speak(plane)
    await plane.reconciler.run_once()
    assert (await plane.get(studio)).status is Status.STOPPING
    plane.host.end(studio.session_id, RunNumber(1))
    await plane.clock.advance(2)
    await plane.reconciler.run_once()
    stopped = await plane.get(studio)
    assert (stopped.status, stopped.job) == (Status.STOPPED, JobStanding.NONE)


async def test_double_start_and_double_stop_change_nothing(plane: Plane) -> None:
    studio = await plane.create(auto_start=True)
    again = await plane.service.start(plane.admin, studio.session_id)
    assert (again.run_number, again.desired_version) == (1, studio.desired_version)
    stopping = await plane.service.stop(plane.admin, studio.session_id)
    again = await plane.service.stop(plane.admin, studio.session_id)
    assert (again.status, again.desired_version) == (Status.STOPPING, stopping.desired_version)


async def test_start_while_stopping_says_when(plane: Plane) -> None:
    studio = await plane.running()
    await plane.service.stop(plane.admin, studio.session_id)
    with pytest.raises(ConflictError, match="once it has stopped"):
        await plane.service.start(plane.admin, studio.session_id)


async def test_stop_while_starting_before_the_engine_was_asked(plane: Plane) -> None:
    studio = await plane.create(auto_start=True)
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.reconciler.run_once()
    assert (await plane.get(studio)).status is Status.STOPPED
    assert not plane.host.agents


async def test_stop_repeated_after_ten_minutes_forces(plane: Plane) -> None:
    plane.host.agents_obey = False
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.clock.advance(590)
    await plane.service.stop(plane.admin, studio.session_id)
    assert (await agent.speak(plane)).run_state is RunState.STOP
    await plane.clock.advance(10)
    await plane.service.stop(plane.admin, studio.session_id)
    assert (await agent.speak(plane)).run_state is RunState.FORCE_STOP
    await plane.reconciler.run_once()
    await plane.clock.advance(15)
    await plane.reconciler.run_once()
    assert (await plane.get(studio)).status is Status.STOPPED


async def test_lifespan_expires_with_its_reason(plane: Plane) -> None:
    studio = await plane.running()
    assert studio.deadline == studio.last_started + timedelta(hours=8)  # type: ignore[operator]
    await plane.turn(8 * 3600 - 30)
    assert (await plane.get(studio)).status is Status.RUNNING
    await plane.turn(30)
    stopped = await plane.run_until(studio, "stopped")
    assert stopped.stop_reason is StopReason.LIFESPAN_EXPIRED
    assert stopped.deadline is None


async def test_extension_counts_from_now_any_number_of_times(plane: Plane) -> None:
    studio = await plane.running()
    for times in (1, 2, 3):
        await plane.clock.advance(60)
        for _ in range(19):  # however impatient: it never adds up
            await plane.service.extend(plane.admin, studio.session_id)
        extended = await plane.service.extend(plane.admin, studio.session_id)
        assert extended.deadline == plane.clock.now() + timedelta(hours=8)
        assert extended.desired_version == studio.desired_version + times


async def test_extension_in_the_instant_of_expiry_wins_or_loses(plane: Plane) -> None:
    first, second = await plane.running("first"), await plane.running("second")
    await plane.clock.advance(8 * 3600)
    await plane.service.extend(plane.admin, first.session_id)
    await plane.reconciler.run_once()
    assert (await plane.get(first)).status is Status.RUNNING
    with pytest.raises(ConflictError, match="already stopping"):
        await plane.service.extend(plane.admin, second.session_id)
    assert (await plane.get(second)).stop_reason is StopReason.LIFESPAN_EXPIRED


async def test_calendar_jump_does_not_end_a_session_at_once(plane: Plane) -> None:
    studio = await plane.running()
    await plane.turn(7.5 * 3600)
    plane.clock.jump(3600)
    await plane.turn(10)
    assert (await plane.get(studio)).status is Status.RUNNING
    plane.clock.jump(-3600)  # it was a mistake
    for _ in range(40):
        await plane.turn(10)
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_calendar_jump_that_stays_ends_it_after_the_hold(plane: Plane) -> None:
    studio = await plane.running()
    plane.clock.jump(9 * 3600)
    await plane.turn(10)
    assert (await plane.get(studio)).status is Status.RUNNING
    await plane.turn(310)
    await plane.run_until(studio, "stopped")


async def test_calendar_jump_is_no_silence(plane: Plane) -> None:
    studio = await plane.running()
    plane.probe.ok = False
    plane.host.end(studio.session_id, RunNumber(1))
    plane.clock.jump(3600)
    await plane.reconciler.run_once()
    assert plane.probe.asked == 0
    assert (await plane.get(studio)).status is Status.RUNNING


async def test_change_for_one_session_reverts_after_it(plane: Plane) -> None:
    studio = await plane.create()
    options = StartStudio(configuration=SessionConfiguration(lifespan_hours=2))
    started = await plane.service.start(plane.admin, studio.session_id, options)
    assert started.effective_lifespan_hours == 2
    assert started.deadline == plane.clock.now() + timedelta(hours=2)
    await plane.service.stop(plane.admin, studio.session_id)
    stopped = await plane.run_until(studio, "stopped")
    assert (stopped.effective_lifespan_hours, stopped.session_configuration) == (8, None)


async def test_delete_forgets_the_session_and_frees_the_name(plane: Plane) -> None:
    studio = await plane.running()
    with pytest.raises(ConflictError, match="stop it first"):
        await plane.service.delete(plane.admin, studio.session_id)
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.run_until(studio, "stopped")
    plane.engine.trouble = [EngineUnavailableError("not now")]
    await plane.service.delete(plane.admin, studio.session_id)
    with pytest.raises(NotFoundError):
        await plane.get(studio)
    await plane.create("demo")
    await plane.reconciler.run_once()
    assert studio.session_id in plane.host.state
    await plane.restart()
    await plane.reconciler.run_once()
    assert studio.session_id not in plane.host.state
    async with plane.service.core.store.read() as transaction:
        assert await transaction.studio(studio.session_id) is None


async def test_every_change_leaves_an_audit_event(plane: Plane) -> None:
    studio = await plane.running()
    await plane.service.extend(plane.admin, studio.session_id)
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.run_until(studio, "stopped")
    await plane.service.delete(plane.admin, studio.session_id)
    assert await _audited(plane, studio.session_id) == [
        "studio_session_created",
        "studio_session_start_requested",
        "studio_session_running",
        "studio_session_lifespan_extended",
        "studio_session_stop_requested",
        "studio_session_stopped",
        "studio_session_deleted",
    ]


async def _audited(plane: Plane, session_id: str) -> list[str]:
    async with plane.service.core.store.database.connect() as connection:
        rows = await connection.execute(
            audit_events.select().where(audit_events.c.session_id == session_id)
        )
        return [row.action for row in rows]
