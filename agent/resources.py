"""What the session's programs use together, as rates.

The ground counts; reading its counters may take a moment while thousands of processes come and go,
so it happens in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.messages import ResourceUse

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from agent.parts import Use
    from common.clock import Clock


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the counters."""

    at_seconds: float
    use: Use


def rates(before: Sample, after: Sample, measured_at: datetime) -> ResourceUse:
    """Return the use between two samples. Pure."""
    used = after.use.cpu_seconds - before.use.cpu_seconds
    elapsed = after.at_seconds - before.at_seconds
    return ResourceUse(
        cpu_percent=round(100 * used / elapsed, 1) if elapsed > 0 else 0.0,
        memory_bytes=after.use.memory_bytes,
        processes=after.use.processes,
        measured_at=measured_at,
    )


class ResourceMeter:
    """Measures at an interval; `latest` is what the reports carry, None until there are two."""

    def __init__(
        self,
        measure: Callable[[], Use | None],
        *,
        interval_seconds: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._measure = measure
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._before: Sample | None = None
        self.latest: ResourceUse | None = None

    async def run(self) -> None:
        while True:
            await self.measure()
            await self._clock.sleep(self._interval_seconds())

    async def measure(self) -> None:
        """Measure once, since the time before."""
        use = await asyncio.to_thread(self._measure)
        if use is None:
            return
        sample = Sample(at_seconds=self._clock.monotonic(), use=use)
        if self._before is not None:
            self.latest = rates(self._before, sample, self._clock.now())
        self._before = sample
