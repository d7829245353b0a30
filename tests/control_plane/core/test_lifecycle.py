"""The table is total, and the promises of its theory hold one by one."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from common.ids import RunNumber
from common.messages import RunPhase, RunState, StatusReport, ToolPhase, ToolStatus
from control_plane.calendar_hold import CalendarHold, look
from control_plane.effects import Facts
from control_plane.lifecycle import TABLE, Event, hear, step, stop_event
from control_plane.model import JobStanding, Status, StepStatus, Studio
from control_plane.progress import progress_of
from control_plane.settings import Limits
from control_plane.worklist import Forget, Moment, Submit, next_task, watch
from tests.control_plane.core.simulated_agent import EPOCH, SESSION, studio

FACTS = Facts(now=EPOCH, message="why", run=RunNumber(1))


def standing(status: Status, **fields: object) -> Studio:
    """A Studio of this status as it comes about."""
    job = JobStanding.NONE if status in {Status.STOPPED, Status.BUILDING} else JobStanding.SUBMITTED
    usual = {"status": status, "run_number": 1, "job": job, "job_run": 1}
    return msgspec.structs.replace(studio(), **{**usual, **fields})


def report(phase: RunPhase, *, run: int = 1, sequence: int = 1) -> StatusReport:
    return StatusReport(
        session_id=SESSION,
        run_number=RunNumber(run),
        sequence=sequence,
        sent_at=EPOCH,
        phase=phase,
        tool=ToolStatus(phase=ToolPhase.READY),
    )


def test_table_has_an_entry_for_everything() -> None:
    assert set(TABLE) == {(status, event) for status in Status for event in Event}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("status", Status)
def test_every_step_is_defined_and_repeating_a_command_is_harmless(
    status: Status, event: Event
) -> None:
    first = step(standing(status), event, FACTS)
    again = step(first.studio, event, FACTS)
    assert again.studio.run_number - first.studio.run_number <= 0
    if event in {Event.STOP, Event.EXPIRE, Event.DELETE}:
        assert again.studio == first.studio


@pytest.mark.parametrize("event", [Event.HEALTH_FAILED, Event.JOB_UNKNOWN, Event.SILENT])
@pytest.mark.parametrize("status", Status)
def test_what_proves_nothing_moves_nothing(status: Status, event: Event) -> None:
    assert step(standing(status), event, FACTS).studio.status is status


@pytest.mark.parametrize("phase", RunPhase)
@pytest.mark.parametrize("status", [Status.STOPPING, Status.STOPPED])
def test_no_report_undoes_a_stop(status: Status, phase: RunPhase) -> None:
    heard = hear(standing(status), report(phase), EPOCH).studio
    assert heard.run_state is RunState.STOP


def test_only_the_agent_makes_a_session_running() -> None:
    ways = {event for (_, event), move in TABLE.items() if move.to is Status.RUNNING}
    assert ways == {Event.SAYS_RUNNING}


def test_stopped_comes_only_from_a_job_that_is_gone() -> None:
    ways = {event for (_, event), move in TABLE.items() if move.to is Status.STOPPED}
    assert ways == {Event.JOB_GONE, Event.BUILT}


def test_late_word_of_a_run_that_is_gone_changes_nothing() -> None:
    gone = standing(Status.ERRORED, job=JobStanding.NONE)
    assert hear(gone, report(RunPhase.RUNNING), EPOCH).studio.status is Status.ERRORED


def test_building_ends_stopped_or_build_failed() -> None:
    building = step(standing(Status.STOPPED), Event.BUILD, FACTS).studio
    assert building.status is Status.BUILDING
    assert step(building, Event.START, FACTS).refusal
    assert step(building, Event.BUILT, FACTS).studio.status is Status.STOPPED
    failed = step(building, Event.BUILD_BROKE, FACTS).studio
    assert (failed.status, failed.status_message) == (Status.BUILD_FAILED, "why")


def test_final_error_of_a_wanted_stop_is_told_once_the_job_is_gone() -> None:
    failing = hear(standing(Status.STOPPING), report(RunPhase.FAILED), EPOCH).studio
    assert failing.status is Status.STOPPING
    gone = step(failing, Event.JOB_GONE_FAILED, FACTS).studio
    assert gone.status is Status.ERRORED
    assert "see its log" in gone.status_message


def test_stop_forces_only_after_ten_minutes() -> None:
    stopping = standing(Status.STOPPING)
    for minutes, event in ((9.9, Event.STOP), (10, Event.STOP_OVERDUE)):
        now = EPOCH + timedelta(minutes=minutes)
        assert stop_event(stopping, now, force_after_seconds=600) is event


def test_calendar_set_back_counts_the_ten_minutes_anew() -> None:
    stopping = standing(Status.STOPPING, status_since=EPOCH + timedelta(hours=1))
    again = step(stopping, Event.STOP, FACTS).studio
    assert again.status_since == EPOCH


def test_desired_version_grows_with_what_is_desired_only() -> None:
    running = standing(Status.RUNNING)
    assert step(running, Event.JOB_ALIVE, FACTS).studio.desired_version == 0
    assert step(running, Event.STOP, FACTS).studio.desired_version == 1


def test_calendar_is_held_after_a_jump_either_way() -> None:
    hold = look(None, EPOCH, 0.0, hold_seconds=300)
    slewed = look(hold, EPOCH + timedelta(seconds=15), 10.0, hold_seconds=300)
    assert slewed.held_until < 10
    for jump in (-3600, 3600):
        jumped = look(hold, EPOCH + timedelta(seconds=10 + jump), 10.0, hold_seconds=300)
        assert jumped == CalendarHold(hold.offset_seconds + jump, 310.0)
        later = look(jumped, EPOCH + timedelta(seconds=20 + jump), 20.0, hold_seconds=300)
        assert later.held_until == 310.0


def test_submit_backs_off_up_to_a_minute() -> None:
    moment = Moment(now=EPOCH, monotonic=100.0)
    for attempts, pause in ((0, 0), (1, 1), (4, 8), (11, 60)):
        starting = standing(Status.STARTING, job=JobStanding.INTENDED, submit_attempts=attempts)
        asked = watch(None, starting, 0.0).asked(100.0 - pause)
        assert next_task(starting, asked, moment, Limits()) == Submit(RunNumber(1))
        early = watch(None, starting, 0.0).asked(100.1 - pause)
        assert pause == 0 or next_task(starting, early, moment, Limits()) is None


def test_studio_at_rest_leaves_nothing_to_do() -> None:
    moment = Moment(now=EPOCH, monotonic=100.0)
    for status in (Status.STOPPED, Status.BUILDING, Status.BUILD_FAILED, Status.ERRORED):
        rests = standing(status, job=JobStanding.NONE)
        assert next_task(rests, watch(None, rests, 0.0), moment, Limits()) is None
        deleted = standing(status, job=JobStanding.NONE, deleted=True)
        assert next_task(deleted, watch(None, deleted, 0.0), moment, Limits()) == Forget()


def test_progress_follows_the_status() -> None:
    def states(of: Studio) -> list[StepStatus]:
        return [one.status for one in progress_of(of)]

    starting = standing(Status.STARTING)
    done, doing, pending = StepStatus.SUCCEEDED, StepStatus.IN_PROGRESS, StepStatus.PENDING
    assert states(starting) == [doing, pending, pending]
    heard = hear(starting, report(RunPhase.STARTING), EPOCH).studio
    assert states(heard) == [done, doing, pending]
    assert states(hear(starting, report(RunPhase.RUNNING), EPOCH).studio) == [done, done, done]
    assert states(standing(Status.STOPPED)) == []
    assert states(standing(Status.ERRORED)) == [StepStatus.ERRORED]
