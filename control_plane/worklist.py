"""What is left to do for a Studio: a pure question, asked again and again.

Everything follows from the Studio as the database has it, so nothing is lost when a process dies
between deciding and doing: the next one reaches the same conclusion. A `Watch` adds what only a
living process can know, durations: how long ago a report came in, or the engine was asked. It
starts afresh with the process, on the monotonic clock. So a control plane that was away for an
hour does not take its own absence for the agents' silence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from common.messages import RunPhase
from control_plane.model import JobStanding, Status, Studio

if TYPE_CHECKING:
    from datetime import datetime

    from common.ids import RunNumber
    from control_plane.settings import Limits

ENDING_SECONDS = 1.0
"""Between two looks at a job that should end any moment."""
EXIT_SECONDS = 10.0
"""An agent that has reported its end needs no longer to exit."""

_TERMINAL = frozenset({RunPhase.STOPPED, RunPhase.FAILED, RunPhase.SUPERSEDED})


# ── Tasks ────────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Submit:
    """Have the engine begin this run."""

    run: RunNumber


@dataclass(frozen=True, slots=True)
class EndJob:
    """Have the engine end this run's job, then look whether it is gone."""

    run: RunNumber
    grace_seconds: float


@dataclass(frozen=True, slots=True)
class Observe:
    """Ask the engine whether this run's job is alive."""

    run: RunNumber


@dataclass(frozen=True, slots=True)
class Inquire:
    """The run has gone silent: find out why."""

    run: RunNumber


@dataclass(frozen=True, slots=True)
class Settle:
    """There is no job: the stop is done."""

    run: RunNumber


@dataclass(frozen=True, slots=True)
class Expire:
    """The lifespan is over."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Deleted, nothing runs: have the engine delete its state, then erase the row."""


Task = Submit | EndJob | Observe | Inquire | Settle | Expire | Forget


# ── Durations ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Watch:
    """What one process remembers of one Studio between passes; times are monotonic."""

    heard: tuple[int, int]
    """Run and sequence of the newest report."""
    heard_at: float
    status: Status
    status_at: float
    asked_at: float = float("-inf")
    """When an engine was last asked anything about this Studio."""

    def asked(self, monotonic: float) -> Watch:
        return replace(self, asked_at=monotonic)

    def heard_now(self, monotonic: float) -> Watch:
        """The agent answered another way than by a report."""
        return replace(self, heard_at=monotonic)


def watch(previous: Watch | None, studio: Studio, monotonic: float) -> Watch:
    """Return what to remember, having seen `studio` now."""
    heard = (studio.run_number, studio.report.sequence if studio.report is not None else 0)
    if previous is None:
        return Watch(heard, monotonic, studio.status, monotonic)
    if previous.heard != heard:
        previous = replace(previous, heard=heard, heard_at=monotonic)
    if previous.status is not studio.status:
        # a new status is looked after at once, whenever the engine was asked last
        previous = replace(
            previous, status=studio.status, status_at=monotonic, asked_at=float("-inf")
        )
    return previous


# ── The question ─────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The clocks, and whether deadlines are held (see `calendar_hold`)."""

    now: datetime
    monotonic: float
    held: bool = False


def next_task(studio: Studio, seen: Watch, moment: Moment, limits: Limits) -> Task | None:
    """Return the one thing to do now, or None."""
    has_job = studio.job is not JobStanding.NONE
    if has_job and (studio.deleted or studio.job_run != studio.run_number):
        return _end(studio, seen, moment, limits.stop_grace_seconds)
    if studio.deleted:
        return Forget() if _due(seen, moment, limits.observe_seconds) else None
    if studio.status in {Status.STARTING, Status.RUNNING}:
        expired = studio.deadline is not None and studio.deadline <= moment.now
        if expired and not moment.held:
            return Expire()
        return _keep_up(studio, seen, moment, limits)
    if studio.status is Status.STOPPING:
        return _bring_down(studio, seen, moment, limits) if has_job else Settle(studio.run_number)
    return _clear_up(studio, seen, moment, limits) if has_job else None


def _keep_up(studio: Studio, seen: Watch, moment: Moment, limits: Limits) -> Task | None:
    """`starting` and `running`."""
    if studio.job is not JobStanding.SUBMITTED:
        pause = _backoff(studio.submit_attempts, limits)
        return Submit(studio.run_number) if _due(seen, moment, pause) else None
    if not _due(seen, moment, limits.observe_seconds):
        return None
    quiet_seconds = moment.monotonic - seen.heard_at
    if quiet_seconds >= limits.silence_seconds:
        return Inquire(studio.run_number)
    missed = studio.report is None or quiet_seconds >= limits.missed_seconds
    return Observe(studio.run_number) if missed else None


def _bring_down(studio: Studio, seen: Watch, moment: Moment, limits: Limits) -> Task | None:
    """`stopping`: the agent is told by its desired state, and takes the time it needs to save.

    The engine is asked to end the job only where the agent can't do it: it was forced, it never
    spoke, or it has said its last word.
    """
    if studio.forced:
        return _end(studio, seen, moment, limits.force_grace_seconds)
    if studio.report is None:
        return _end(studio, seen, moment, limits.stop_grace_seconds)
    if studio.report.phase in _TERMINAL:
        return _see_out(studio, seen, moment, limits, patience_seconds=EXIT_SECONDS)
    return _look(studio, seen, moment, limits.observe_seconds)


def _clear_up(studio: Studio, seen: Watch, moment: Moment, limits: Limits) -> Task | None:
    """`errored` with a job that may be alive: it may recover or end by itself, for a while."""
    if studio.report is None:
        return _end(studio, seen, moment, limits.stop_grace_seconds)
    patience = limits.errored_grace_seconds
    return _see_out(studio, seen, moment, limits, patience_seconds=patience)


def _see_out(
    studio: Studio, seen: Watch, moment: Moment, limits: Limits, *, patience_seconds: float
) -> Task | None:
    """Look often; end it by force of the engine once patience is over."""
    since = max(seen.heard_at, seen.status_at)
    if moment.monotonic - since >= patience_seconds:
        return _end(studio, seen, moment, limits.stop_grace_seconds)
    return _look(studio, seen, moment, ENDING_SECONDS)


def _end(studio: Studio, seen: Watch, moment: Moment, grace_seconds: float) -> Task | None:
    due = _due(seen, moment, ENDING_SECONDS)
    return EndJob(studio.job_run, grace_seconds) if due else None


def _look(studio: Studio, seen: Watch, moment: Moment, pause_seconds: float) -> Task | None:
    return Observe(studio.job_run) if _due(seen, moment, pause_seconds) else None


def _due(seen: Watch, moment: Moment, pause_seconds: float) -> bool:
    return moment.monotonic - seen.asked_at >= pause_seconds


def _backoff(attempts: int, limits: Limits) -> float:
    if attempts == 0:
        return 0.0
    doubled: float = limits.submit_backoff_seconds * 2.0 ** (attempts - 1)
    return min(doubled, limits.submit_backoff_seconds_max)
