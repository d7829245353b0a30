"""The lifespan, extended as the session asks: never two requests at once, and not too often."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.control_plane import CannotExtendError, ControlPlaneAwayError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from common.clock import Clock
    from common.messages import DesiredState

SAME_END_SECONDS = 60.0
"""One lifespan from now is the same, to the minute: nothing new is asked for."""
SAME_REFUSAL_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Refused:
    """It was not extended; a sentence for people."""

    sentence: str


class Extension:
    """Asks `extend`, and gives whoever asks soon after the same answer.

    So a loop in the session costs the control plane one audit event a minute.
    """

    def __init__(self, extend: Callable[[], Awaitable[DesiredState]], clock: Clock) -> None:
        """`extend` is like that of a `ControlPlane`."""
        self._extend = extend
        self._clock = clock
        self._asking = asyncio.Lock()
        self._answer: datetime | Refused | None = None
        self._good_until = 0.0

    async def ask(self) -> datetime | Refused:
        """Return the session's new end, or why there is none."""
        async with self._asking:
            if self._answer is None or self._clock.monotonic() >= self._good_until:
                self._answer = await self._ask_control_plane()
                refused = isinstance(self._answer, Refused)
                seconds = SAME_REFUSAL_SECONDS if refused else SAME_END_SECONDS
                self._good_until = self._clock.monotonic() + seconds
            return self._answer

    async def _ask_control_plane(self) -> datetime | Refused:
        try:
            desired = await self._extend()
        except CannotExtendError as error:
            return Refused(str(error))
        except ControlPlaneAwayError:
            return Refused(
                "The control plane can't be reached now, and only it can extend the session: "
                "try again in a minute."
            )
        if desired.deadline is None:
            return Refused("The session keeps running until it is stopped: nothing to do.")
        return desired.deadline
