"""The steps that people see while a session comes up or goes down. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.model import WANTS_RUN, ProgressStep, Status, StepStatus

if TYPE_CHECKING:
    from control_plane.model import Studio

_RUNG = {Status.STARTING: 0, Status.RUNNING: 2}


def progress_of(studio: Studio) -> tuple[ProgressStep, ...]:
    """Three rungs up (asked for, tool starting, running); down, what the agent does in order."""
    if studio.status is Status.STOPPING:
        return _stop_steps(studio)
    if studio.status is Status.ERRORED:
        return (ProgressStep(status=StepStatus.ERRORED, message=studio.status_message),)
    if studio.status not in WANTS_RUN:
        return ()
    rung = _RUNG[studio.status]
    if rung == 0 and studio.report is not None:
        rung = 1
    warnings = studio.report.warnings if studio.report is not None else ()
    names = ("Asking for a place to run", "Starting the tool", "Running")
    return tuple(
        ProgressStep(
            status=_rung_status(index, rung, done=studio.status is Status.RUNNING),
            message=name,
            warnings=warnings if index == rung else (),
        )
        for index, name in enumerate(names)
    )


def _stop_steps(studio: Studio) -> tuple[ProgressStep, ...]:
    steps = studio.report.stop_steps if studio.report is not None else ()
    asked = StepStatus.SUCCEEDED if steps else StepStatus.IN_PROGRESS
    return (
        ProgressStep(status=asked, message="Asking the session to stop"),
        *(
            ProgressStep(
                status=StepStatus(step.state.value),
                message=step.name[:1].upper() + step.name[1:],
                warnings=(step.message,) if step.message else (),
            )
            for step in steps
        ),
    )


def _rung_status(index: int, rung: int, *, done: bool) -> StepStatus:
    if index < rung or (done and index == rung):
        return StepStatus.SUCCEEDED
    return StepStatus.IN_PROGRESS if index == rung else StepStatus.PENDING
