"""Phases of a start or stop with their durations, from successive looks at a Studio.

Pure: looks go in with their time, what to show comes out. The Studio's own progress is used where
the control plane gives one; else each status it passes through is a phase. A phase is timed from
the look that first shows it to the look that shows it done, so its error is one polling interval.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from studios.shapes import ProgressStep, Studio

_OVER = ("succeeded", "errored")


@dataclass(frozen=True, slots=True)
class Began:
    """A phase is under way."""

    name: str


@dataclass(frozen=True, slots=True)
class Ended:
    """A phase is over, well or not."""

    name: str
    seconds: float
    succeeded: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Warned:
    """A phase that goes on has something to say, such as what it waits for."""

    name: str
    warnings: tuple[str, ...]


PhaseEvent = Began | Warned | Ended


class Verdict(Enum):
    """What a look at the status means for somebody who waits for another."""

    WAIT = auto()
    REACHED = auto()
    HOPELESS = auto()


_HOPELESS = {
    "running": ("errored", "stopped", "stopping", "buildFailed"),
    "stopped": ("errored", "buildFailed"),
}


def judge(status: str, wanted: str) -> Verdict:
    """Return whether `wanted` is reached, or can't be without somebody acting."""
    if status == wanted:
        return Verdict.REACHED
    if status in _HOPELESS.get(wanted, ()):
        return Verdict.HOPELESS
    return Verdict.WAIT


class PhaseLog:
    """Turns looks at one Studio into events, each phase beginning and ending once."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._began: dict[str, float] = {}
        self._ended: set[str] = set()
        self._warned: set[str] = set()
        self._status = ""

    def look(self, studio: Studio, now: float) -> list[PhaseEvent]:
        """Return what has happened since the previous look, in order."""
        if studio.progress:
            return [event for step in studio.progress for event in self._step(step, now)]
        return [*self._end_rest(now), *self._status_change(studio.status, now)]

    def _step(self, step: ProgressStep, now: float) -> list[PhaseEvent]:
        name = step.message
        events: list[PhaseEvent] = []
        if step.status == "pending" or name in self._ended:
            return events
        if name not in self._began:
            # Steps follow each other: one that came and went between two looks took no longer
            # than since the step before it ended.
            self._began[name] = now if step.status == "in-progress" else self._since
            events.append(Began(name))
        warnings = tuple(text for text in step.warnings if text not in self._warned)
        self._warned.update(warnings)
        if step.status in _OVER:
            self._ended.add(name)
            self._since = now
            events.append(
                Ended(
                    name,
                    seconds=now - self._began[name],
                    succeeded=step.status == "succeeded",
                    warnings=warnings,
                )
            )
        elif warnings:
            events.append(Warned(name, warnings))
        return events

    def _end_rest(self, now: float) -> list[PhaseEvent]:
        """End what was under way: no steps any more means that they all are over, and well."""
        left = [name for name in self._began if name not in self._ended]
        self._ended.update(left)
        return [Ended(name, seconds=now - self._began[name], succeeded=True) for name in left]

    def _status_change(self, status: str, now: float) -> list[PhaseEvent]:
        if status == self._status:
            return []
        before, self._status = self._status, status
        began, self._since = self._since, now
        if before:
            return [Ended(before, seconds=now - began, succeeded=True), Began(status)]
        return [Began(status)]
