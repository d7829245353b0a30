"""Reports out, desired state in; neither stops anything when the control plane is away.

Two loops run side by side. `report` delivers the whole state at an interval and at once on change;
`follow` holds a long poll, so that a wish (stop) arrives within a second. Both roads end in
`obey`, which takes any order of messages. What is lost is said again by the next report.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent.control_plane import ControlPlaneAwayError
from agent.limits import wait_event
from common.backoff import Backoff

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from agent.control_plane import ControlPlane
    from common.clock import Clock
    from common.messages import DesiredState, StatusReport

COALESCE_SECONDS = 0.1
"""From one report to the next: a start makes several changes within milliseconds. The first change
after a while is reported at once: that its tool answers is what a user waits for."""
RETRY_FIRST_SECONDS = 0.5
RETRY_SECONDS_MAX = 10.0  # the status interval: then the state is as fresh as ever on return
LAST_RETRY_SECONDS_MAX = 2.0
POLL_PAUSE_SECONDS = 0.2
"""Between two long polls. A control plane whose database was restored may be behind, and would
answer at once for ever: it is asked every RETRY_SECONDS_MAX."""

_log = structlog.get_logger()


class Reporter:
    """Says what `observe` sees, tells `obey` what comes back."""

    def __init__(
        self,
        control_plane: ControlPlane,
        *,
        observe: Callable[[int], StatusReport],
        obey: Callable[[DesiredState], None],
        version: Callable[[], int],
        interval_seconds: Callable[[], float],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        """`observe` makes the report of a sequence number, `version` tells which one is obeyed."""
        self._control_plane = control_plane
        self._observe = observe
        self._obey = obey
        self._version = version
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._rng = rng
        self._changed = asyncio.Event()
        self._sequence = 0
        self._away: type[ControlPlaneAwayError] | None = None
        self.sent = 0
        self.failures = 0

    def changed(self) -> None:
        """Something happened that people wait for: report soon."""
        self._changed.set()

    async def report(self) -> None:
        """Report until cancelled."""
        retry = self._backoff(RETRY_SECONDS_MAX)
        while True:
            self._changed.clear()
            if not await self._send():
                await self._clock.sleep(retry.next_seconds())
                continue
            retry.reset()
            next_at = self._clock.monotonic() + COALESCE_SECONDS
            if await wait_event(self._changed, self._clock, self._interval_seconds()):
                await self._clock.sleep(next_at - self._clock.monotonic())

    async def follow(self) -> None:
        """Long-poll the desired state until cancelled."""
        retry = self._backoff(RETRY_SECONDS_MAX)
        while True:
            asked = self._version()
            try:
                desired = await self._control_plane.desired(after=asked)
            except ControlPlaneAwayError as error:
                _log.debug("long_poll_failed", error=str(error))
                await self._clock.sleep(retry.next_seconds())
                continue
            retry.reset()
            if desired is not None:
                self._obey(desired)
            behind = desired is not None and desired.version < asked
            await self._clock.sleep(RETRY_SECONDS_MAX if behind else POLL_PAUSE_SECONDS)

    async def deliver_last(self, limit_seconds: float) -> bool:
        """Deliver the state as it is now, trying again until the limit; say whether it arrived."""
        retry = self._backoff(LAST_RETRY_SECONDS_MAX)
        end = self._clock.monotonic() + limit_seconds
        while not await self._send():
            pause = retry.next_seconds()
            if self._clock.monotonic() + pause > end:
                _log.warning("last_report_lost", limit_seconds=limit_seconds)
                return False
            await self._clock.sleep(pause)
        return True

    async def _send(self) -> bool:
        self._sequence += 1
        try:
            desired = await self._control_plane.report(self._observe(self._sequence))
        except ControlPlaneAwayError as error:
            self.failures += 1
            self._note_away(error)
            return False
        self.sent += 1
        if self._away is not None:
            _log.info("control_plane_back")
        self._away = None
        self._obey(desired)
        return True

    def _note_away(self, error: ControlPlaneAwayError) -> None:
        """Log the first failure of a row, and when its kind changes: a person should look."""
        if type(error) is not self._away:
            _log.warning("report_failed", error=str(error), sequence=self._sequence)
        self._away = type(error)

    def _backoff(self, seconds_max: float) -> Backoff:
        return Backoff(first_seconds=RETRY_FIRST_SECONDS, seconds_max=seconds_max, rng=self._rng)
