"""What holds in every story of a Studio's life, after every step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control_plane.lifecycle import Event
from control_plane.model import JobStanding, Status, StopReason, Studio

if TYPE_CHECKING:
    from datetime import datetime

OVER = (Status.STOPPED, Status.ERRORED)
UP = (Status.STARTING, Status.RUNNING)


class ViolationError(AssertionError):
    """An invariant does not hold."""


@dataclass(slots=True)
class Chronicle:
    """What the story so far demands of what follows."""

    stopped_runs: set[int] = field(default_factory=set)
    """Runs that people, or their lifespan, have stopped."""
    gone_runs: set[int] = field(default_factory=set)
    """Runs of which the control plane knows that they are gone."""


def check_change(
    before: Studio, after: Studio, chronicle: Chronicle, *, now: datetime, event: Event | None
) -> None:
    """Check one change of the Studio; `event` None is a report, or unknown."""
    if after.run_number < before.run_number:
        raise ViolationError("a run number shrank")
    if after.desired_version < before.desired_version:
        raise ViolationError("a desired version shrank")
    changed = _desired(before) != _desired(after)
    if changed and after.desired_version == before.desired_version:
        raise ViolationError("the desired state changed under the same version")
    if event in _PROOF_OF_NOTHING and after.status is not before.status:
        raise ViolationError(f"{event} moved {before.status} to {after.status}")
    if has_expired(before, after) and (before.deadline is None or before.deadline > now):
        raise ViolationError("expired before its deadline")
    _check_run(before, after, chronicle, event)


def has_expired(before: Studio, after: Studio) -> bool:
    """Whether this change is the end of the lifespan."""
    expired = StopReason.LIFESPAN_EXPIRED
    return after.stop_reason is expired and before.stop_reason is not expired


def check_standing(studio: Studio, *, living: int) -> None:
    """Check the Studio against the number of its agents that live."""
    if living > 1:
        raise ViolationError("two jobs alive")
    if studio.status is Status.STOPPED and living:
        raise ViolationError("stopped with a job alive")
    if studio.job is JobStanding.NONE and living:
        raise ViolationError("a job alive that nobody knows of")
    if studio.status is Status.ERRORED and not studio.status_message:
        raise ViolationError("errored without a reason")
    if studio.status is Status.STOPPED and studio.deadline is not None:
        raise ViolationError("stopped, and what held for one session only is kept")


def _check_run(before: Studio, after: Studio, chronicle: Chronicle, event: Event | None) -> None:
    if after.status in UP and after.run_number in chronicle.stopped_runs:
        raise ViolationError(f"a stop was lost: {after.status} after it ({event})")
    if after.status in UP and after.run_number in chronicle.gone_runs:
        raise ViolationError("a run that is gone is up again")
    if after.report is not None and after.run_number == before.run_number:
        newest = before.report.sequence if before.report is not None else 0
        if after.report.sequence < newest:
            raise ViolationError("a report replaced a newer one")


def _desired(studio: Studio) -> tuple[object, ...]:
    asked = studio.checkpoint_requested_at
    return studio.run_number, studio.run_state, studio.deadline, studio.stop_reason, asked


_PROOF_OF_NOTHING = {
    Event.HEALTH_FAILED,
    Event.HEALTH_OK,
    Event.JOB_UNKNOWN,
    Event.SILENT,
    Event.OLD_RUN_SPEAKS,
    Event.SUBMIT_FAILED,
}
