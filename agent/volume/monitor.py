"""The loop that keeps a volume large enough: measure, ask the policy, grow, tell the status."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.volume import policy
from agent.volume.policy import Full, Grow, Memory, Sample, Wait
from agent.volume.volume import NotAttachedError, VolumeError
from common.messages import VolumeStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.volume.volume import Space, Volume
    from common.clock import Clock
    from common.session_spec import VolumeLimits

_log = structlog.get_logger()


class VolumeMonitor:
    """Watches an attached volume. Failures are told in the status; the loop goes on."""

    def __init__(
        self,
        volume: Volume,
        limits: VolumeLimits,
        *,
        clock: Clock,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_change` is called when the status says something new besides the free space."""
        self._volume = volume
        self._limits = limits
        self._clock = clock
        self._on_change = on_change
        self._memory = Memory()
        self._space: Space | None = None
        self._full = False
        self._message = ""
        self.growths = 0
        """How often it grew, for the metrics."""
        self.growth_failures = 0

    def status(self) -> VolumeStatus | None:
        """Return the latest; None before the first look. Sizes are 0 if none could be measured."""
        if self._space is None and not self._message:
            return None
        return VolumeStatus(
            size_bytes=self._space.size_bytes if self._space else 0,
            free_bytes=self._space.true_free_bytes if self._space else 0,
            limit_bytes=self._limits.limit_bytes,
            full=self._full,
            message=self._message,
        )

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            await self._clock.sleep(await self.step())

    async def step(self) -> float:
        """Look once, act once, and return how long to wait before the next look."""
        try:
            space = await self._volume.measure()
        except NotAttachedError:  # the end of the run: the last that was seen goes on being true
            return policy.PAUSE_SECONDS_MAX
        except VolumeError as error:
            self._tell(self._space, full=self._full, message=str(error))
            return policy.PAUSE_SECONDS_MAX
        sample = Sample(at_seconds=self._clock.monotonic(), space=space)
        self._memory, decision = policy.decide(self._limits, self._memory, sample)
        match decision:
            case Wait(seconds):
                self._tell(space, full=False, message=self._trouble(space))
                return seconds
            case Full(reason):
                self._tell(space, full=True, message=reason)
                return await self._settle()
            case Grow(steps):
                return await self._grow(space, steps)
            case _:
                assert_never(decision)

    async def _grow(self, space: Space, steps: int) -> float:
        begun = self._clock.monotonic()
        try:
            size_bytes = await self._volume.grow(steps)
        except NotAttachedError:
            return policy.PAUSE_SECONDS_MAX
        except VolumeError as error:
            return self._failed(space, str(error), retry_helps=error.retry_helps)
        if size_bytes <= space.size_bytes:
            return self._failed(space, "growing it had no effect", retry_helps=True)
        self._memory = policy.grown(self._memory)
        self.growths += 1
        seconds = self._clock.monotonic() - begun
        _log.info("volume_grown", size_bytes=size_bytes, seconds=round(seconds, 3))
        return 0.0  # it may be short again already

    async def _settle(self) -> float:
        """At the limit, have the next look see what is deleted meanwhile."""
        with contextlib.suppress(VolumeError):  # the next look says what is wrong
            await self._volume.settle()
        return policy.PAUSE_SECONDS_FULL

    def _failed(self, space: Space, reason: str, *, retry_helps: bool) -> float:
        now = self._clock.monotonic()
        if self._memory.failures == 0:
            _log.warning("volume_growth_failed", reason=reason)
        self._memory = policy.failed(self._memory, now, reason, retry_helps=retry_helps)
        self.growth_failures += 1
        self._tell(space, full=False, message=self._trouble(space))
        return policy.PAUSE_SECONDS_MIN

    def _trouble(self, space: Space) -> str:
        return self._memory.failure or policy.host_warning(space)

    def _tell(self, space: Space | None, *, full: bool, message: str) -> None:
        before = self._news()
        self._space, self._full, self._message = space, full, message
        if self._news() == before:
            return
        if message:
            _log.warning("volume_in_trouble", full=full, message=message)
        self._on_change()

    def _news(self) -> tuple[int | None, bool, str]:
        """Return what is worth a report at once when it changes."""
        return (self._space.size_bytes if self._space else None, self._full, self._message)
