"""Phases with their times, from looks at a Studio: a conversation without a clock."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from studios.phases import Began, Ended, PhaseLog, Verdict, Warned, judge
from studios.shapes import ProgressStep, StatusInfo, Studio


def look(status: str, *steps: tuple[str, str]) -> Studio:
    return Studio(
        session_id="0a1b2c3d",
        name="genome",
        status_info=StatusInfo(status=status),
        progress=tuple(ProgressStep(message=name, status=state) for name, state in steps),
    )


def test_a_phase_lasts_from_the_look_that_shows_it_to_the_one_that_shows_its_end() -> None:
    phases = PhaseLog(10.0)
    assert phases.look(look("starting", ("A", "in-progress"), ("B", "pending")), 11.0) == [
        Began("A")
    ]
    assert phases.look(look("starting", ("A", "in-progress"), ("B", "pending")), 12.0) == []
    assert phases.look(look("starting", ("A", "succeeded"), ("B", "in-progress")), 13.5) == [
        Ended("A", 2.5, succeeded=True),
        Began("B"),
    ]
    assert phases.look(look("errored", ("A", "succeeded"), ("B", "errored")), 14.0) == [
        Ended("B", 0.5, succeeded=False)
    ]
    assert phases.look(look("errored", ("A", "succeeded"), ("B", "errored")), 15.0) == []


def test_a_phase_that_came_and_went_between_two_looks_is_shown_with_its_longest_time() -> None:
    phases = PhaseLog(10.0)
    assert phases.look(look("running", ("A", "succeeded")), 10.5) == [
        Began("A"),
        Ended("A", 0.5, succeeded=True),
    ]


def test_what_a_phase_has_to_say_is_shown_once_and_while_it_goes_on() -> None:
    def saving(status: str, *warnings: str) -> Studio:
        step = ProgressStep(message="Save", status=status, warnings=warnings)
        return replace(look("stopping"), progress=(step,))

    phases = PhaseLog(0.0)
    assert phases.look(saving("in-progress"), 1.0) == [Began("Save")]
    assert phases.look(saving("in-progress", "It is away."), 2.0) == [
        Warned("Save", ("It is away.",))
    ]
    assert phases.look(saving("in-progress", "It is away."), 3.0) == []
    assert phases.look(saving("errored", "It is away.", "Given up."), 4.0) == [
        Ended("Save", 3.0, succeeded=False, warnings=("Given up.",))
    ]
    later = ProgressStep(message="Unmount", status="succeeded", warnings=("It is away.",))
    assert phases.look(replace(look("stopping"), progress=(later,)), 5.0) == [
        Began("Unmount"),
        Ended("Unmount", 1.0, succeeded=True),
    ]


def test_without_progress_the_statuses_are_the_phases() -> None:
    phases = PhaseLog(0.0)
    assert phases.look(look("starting"), 0.0) == [Began("starting")]
    assert phases.look(look("starting"), 1.0) == []
    assert phases.look(look("running"), 2.0) == [
        Ended("starting", 2.0, succeeded=True),
        Began("running"),
    ]


def test_phases_under_way_end_when_there_are_no_more_steps() -> None:
    phases = PhaseLog(0.0)
    steps = (("Ask", "succeeded"), ("Stop the tool", "in-progress"), ("Save", "pending"))
    phases.look(look("stopping", *steps), 1.0)
    assert phases.look(look("stopped"), 3.0) == [
        Ended("Stop the tool", 2.0, succeeded=True),
        Began("stopped"),
    ]
    assert phases.look(look("stopped"), 4.0) == []


@pytest.mark.parametrize(
    ("status", "wanted", "verdict"),
    [
        ("running", "running", Verdict.REACHED),
        ("starting", "running", Verdict.WAIT),
        ("building", "running", Verdict.WAIT),
        ("errored", "running", Verdict.HOPELESS),
        ("buildFailed", "running", Verdict.HOPELESS),
        ("stopped", "running", Verdict.HOPELESS),
        ("errored", "errored", Verdict.REACHED),
        ("running", "stopped", Verdict.WAIT),
        ("errored", "stopped", Verdict.HOPELESS),
        ("running", "starting", Verdict.WAIT),
    ],
)
def test_waiting_ends_where_nobody_but_a_person_can_help(
    status: str, wanted: str, verdict: Verdict
) -> None:
    assert judge(status, wanted) is verdict
