"""Why a run ends, and how urgently.

Several may ask for the end (the control plane, a signal, the tool that was given up); the first one
starts the stop sequence, the gravest one decides how the run is remembered.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from common.messages import RunPhase


@dataclass(frozen=True, slots=True)
class Requested:
    """Somebody wanted it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The run can't go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Superseded:
    """A newer run of this Studio exists: what this one has may not be committed any more."""

    reason: str = "a newer run of this Studio has started"


Cause = Requested | Failed | Superseded

_GRAVITY = {Requested: 0, Failed: 1, Superseded: 2}
_FINAL_PHASE = {
    Requested: RunPhase.STOPPED,
    Failed: RunPhase.FAILED,
    Superseded: RunPhase.SUPERSEDED,
}
_EXIT_CODE = {Requested: 0, Failed: 1, Superseded: 0}


def final_phase(cause: Cause) -> RunPhase:
    return _FINAL_PHASE[type(cause)]


def exit_code(cause: Cause) -> int:
    return _EXIT_CODE[type(cause)]


class StopRequest:
    """Collects the requests to end."""

    def __init__(self) -> None:
        self._cause: Cause | None = None
        self._asked = asyncio.Event()
        self._forced = asyncio.Event()

    def ask(self, cause: Cause) -> None:
        """End in order. A graver cause replaces the one before, an equal one doesn't."""
        if self._cause is None or _GRAVITY[type(cause)] > _GRAVITY[type(self._cause)]:
            self._cause = cause
        self._asked.set()

    def force(self, cause: Cause) -> None:
        """End without waiting for anything outside."""
        self.ask(cause)
        self._forced.set()

    @property
    def cause(self) -> Cause | None:
        """The gravest so far."""
        return self._cause

    def asked(self) -> bool:
        return self._cause is not None

    @property
    def forced(self) -> asyncio.Event:
        return self._forced

    async def wait(self) -> Cause:
        """Return once anybody asked."""
        await self._asked.wait()
        assert self._cause is not None
        return self._cause
