"""What all processes of the tool use together.

Reading /proc of many processes takes milliseconds each time, so it happens in a thread.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from common.messages import ResourceUse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from agent.supervisor.family import Key
    from agent.supervisor.proctable import ProcessFacts
    from common.clock import Clock


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at all processes."""

    at_seconds: float
    memory_bytes: int = 0
    cpu_seconds: Mapping[Key, float] = field(default_factory=dict)
    """What each process used since its own start."""


def use(before: Sample, after: Sample, measured_at: datetime) -> ResourceUse:
    """Return the use between two samples. Pure.

    A process that is new in `after` counts with all it used: it started in between. What a process
    used before it ended is lost; at 30 s apart that blurs a build, not an analysis.
    """
    used = sum(
        max(0.0, seconds - before.cpu_seconds.get(key, 0.0))
        for key, seconds in after.cpu_seconds.items()
    )
    elapsed = after.at_seconds - before.at_seconds
    return ResourceUse(
        cpu_percent=round(100 * used / elapsed, 1) if elapsed > 0 else 0.0,
        memory_bytes=after.memory_bytes,
        processes=len(after.cpu_seconds),
        measured_at=measured_at,
    )


def take_sample(living: Callable[[], list[ProcessFacts]], at_seconds: float) -> Sample:
    """Look at all of `living()`; blocking, a few milliseconds."""
    memory_bytes = 0
    cpu_seconds: dict[Key, float] = {}
    for facts in living():
        try:
            process = psutil.Process(facts.pid)
            with process.oneshot():
                cpu = process.cpu_times()
                memory_bytes += process.memory_info().rss
        except psutil.Error:  # ended meanwhile
            continue
        cpu_seconds[facts.pid, facts.start_ticks] = cpu.user + cpu.system
    return Sample(at_seconds=at_seconds, memory_bytes=memory_bytes, cpu_seconds=cpu_seconds)


class ResourceMeter:
    """Measures at an interval; `latest` is what the reports carry."""

    def __init__(
        self,
        living: Callable[[], list[ProcessFacts]],
        *,
        interval_seconds: Callable[[], float],
        clock: Clock,
    ) -> None:
        self._living = living
        self._interval_seconds = interval_seconds
        self._clock = clock
        self._before = Sample(at_seconds=clock.monotonic())
        self.latest: ResourceUse | None = None

    async def run(self) -> None:
        while True:
            await self._clock.sleep(self._interval_seconds())
            await self.measure()

    async def measure(self) -> None:
        """Measure once, since the time before."""
        sample = await asyncio.to_thread(take_sample, self._living, self._clock.monotonic())
        self.latest = use(self._before, sample, self._clock.now())
        self._before = sample
