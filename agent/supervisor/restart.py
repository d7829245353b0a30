"""Whether, and after which pause, a tool that ended is started again. Pure.

Every end counts, also exit code 0: "File → Shut Down" in an IDE must not leave a session that
runs but serves nothing; who wants it to end stops the Studio.

Two limits end the trying. `CRASHES_MAX` within `WINDOW_SECONDS` catches the tool that dies at once.
`NEVER_READY_MAX` in a row catches the one that takes a minute to die, and would stay below the
first limit for ever.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

PAUSE_FIRST_SECONDS = 0.5  # a killed IDE is back before its user has read the message
PAUSE_SECONDS_MAX = 30.0
HEALTHY_SECONDS = 60.0
"""A tool that answered this long has proved itself: what was before it is forgotten."""

CRASHES_MAX = 6
WINDOW_SECONDS = 300.0
NEVER_READY_MAX = 6


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of one life of the tool."""

    at_seconds: float
    """Monotonic."""
    how: str
    """`exit code 1`, `killed by SIGKILL`: see `process.describe_exit`."""
    ready_seconds: float | None = None
    """How long it had answered; None if it never did."""


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of former lives."""

    crashes: tuple[float, ...] = ()
    """When, within the window."""
    pause_seconds: float = PAUSE_FIRST_SECONDS
    never_ready: int = 0
    """Lives in a row, up to now, that never answered."""


@dataclass(frozen=True, slots=True)
class RestartIn:
    """Start it again after this pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Don't; the run has failed for this reason."""

    reason: str


def decide(history: History, ended: Ended) -> tuple[History, RestartIn | GiveUp]:
    """Return what to do after `ended`, and what to remember."""
    if ended.ready_seconds is not None and ended.ready_seconds >= HEALTHY_SECONDS:
        history = History()
    since = ended.at_seconds - WINDOW_SECONDS
    history = replace(
        history,
        crashes=(*(at for at in history.crashes if at > since), ended.at_seconds),
        never_ready=history.never_ready + 1 if ended.ready_seconds is None else 0,
    )
    if len(history.crashes) >= CRASHES_MAX:
        minutes = WINDOW_SECONDS / 60
        return history, GiveUp(f"ended {CRASHES_MAX} times within {minutes:.0f} min: {ended.how}")
    if history.never_ready >= NEVER_READY_MAX:
        return history, GiveUp(f"ended {NEVER_READY_MAX} times before it answered: {ended.how}")
    pause = history.pause_seconds
    return replace(history, pause_seconds=min(pause * 2, PAUSE_SECONDS_MAX)), RestartIn(pause)
