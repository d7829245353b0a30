"""What the entries of the lifecycle's table do to a Studio besides giving it another status."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

import msgspec

from common.ids import RunNumber
from control_plane.model import KEEP_RUNNING, JobStanding, SessionConfiguration, StopReason, Studio


class Effect(Enum):
    """What else an entry of the table does."""

    OPEN_RUN = auto()
    ADOPT_RUN = auto()
    REVERT = auto()
    """What held for one session only is over."""
    FORCE = auto()
    EXTEND = auto()
    DELETE = auto()
    REQUEST_CHECKPOINT = auto()
    EXPIRED = auto()
    NO_STATS = auto()
    INTEND = auto()
    JOB_KNOWN = auto()
    JOB_CLOSED = auto()
    COUNT_ATTEMPT = auto()
    NOTE = auto()
    """Show the event's message though the status stays."""
    ASK_HEALTH = auto()
    ASK_ENGINE = auto()


ASKS = frozenset({Effect.ASK_HEALTH, Effect.ASK_ENGINE})
"""Effects that the caller carries out; all others are changes of the Studio."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What an event brings with it."""

    now: datetime
    message: str = ""
    run: RunNumber | None = None
    """The run an engine's answer is about, or the run to adopt."""
    job_detail: str = ""
    session_configuration: SessionConfiguration | None = None


def change(studio: Studio, effect: Effect, facts: Facts) -> Studio:
    if effect is Effect.EXTEND:
        return msgspec.structs.replace(studio, deadline=_extended(studio, facts.now))
    if effect is Effect.OPEN_RUN:
        return _open_run(studio, facts)
    changes: dict[Effect, dict[str, object]] = {
        Effect.ADOPT_RUN: {
            "run_number": facts.run or studio.run_number,
            "job": JobStanding.SUBMITTED,
            "job_run": facts.run or studio.run_number,
            "job_detail": "",
            "forced": False,
            "stop_reason": None,
            "report": None,
            "health": None,
            "checkpoint_requested_at": None,
        },
        Effect.REVERT: {
            "deadline": None,
            "run_lifespan_hours": None,
            "session_configuration": None,
            "forced": False,
            "health": None,
        },
        Effect.FORCE: {"forced": True},
        Effect.DELETE: {"deleted": True},
        Effect.REQUEST_CHECKPOINT: {"checkpoint_requested_at": facts.now},
        Effect.EXPIRED: {"stop_reason": StopReason.LIFESPAN_EXPIRED},
        Effect.NO_STATS: {"stop_reason": StopReason.NO_STATS_AVAIL},
        Effect.INTEND: {"job": JobStanding.INTENDED, "job_run": studio.run_number},
        Effect.JOB_KNOWN: {
            "job": JobStanding.SUBMITTED,
            "job_run": studio.run_number,
            "job_detail": facts.job_detail or studio.job_detail,
        },
        Effect.JOB_CLOSED: {"job": JobStanding.NONE, "job_detail": ""},
        Effect.COUNT_ATTEMPT: {"submit_attempts": studio.submit_attempts + 1},
        Effect.NOTE: {"status_message": facts.message},
        Effect.ASK_HEALTH: {},
        Effect.ASK_ENGINE: {},
    }
    return msgspec.structs.replace(studio, **changes[effect])


def _open_run(studio: Studio, facts: Facts) -> Studio:
    overrides = facts.session_configuration
    hours = studio.next_lifespan_hours
    if overrides is not None and overrides.lifespan_hours is not None:
        hours = overrides.lifespan_hours
    return msgspec.structs.replace(
        studio,
        run_number=RunNumber(studio.run_number + 1),
        deadline=None if hours == KEEP_RUNNING else facts.now + timedelta(hours=hours),
        run_lifespan_hours=hours,
        session_configuration=overrides,
        last_started=facts.now,
        forced=False,
        stop_reason=None,
        submit_attempts=0,
        report=None,
        health=None,
        checkpoint_requested_at=None,
    )


def _extended(studio: Studio, now: datetime) -> datetime | None:
    """One lifespan from now, however often it is asked for; never sooner than it was."""
    if studio.deadline is None or not studio.run_lifespan_hours:
        return studio.deadline
    return max(studio.deadline, now + timedelta(hours=studio.run_lifespan_hours))
