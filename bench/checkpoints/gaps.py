"""How long an event loop kept others waiting: a ticker notes when it is really called."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.spread import percentile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TICK_SECONDS = 0.005
_BILLION = 1_000_000_000


class Gaps:
    """Seconds between calls, in order."""

    def __init__(self) -> None:
        self._seconds: list[float] = []

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)

    def most(self) -> float:
        return max(self._seconds, default=0.0)

    def at(self, part: float) -> float:
        """Return what `part` of the gaps don't exceed."""
        return percentile(sorted(self._seconds), part) if self._seconds else 0.0


@asynccontextmanager
async def watched() -> AsyncIterator[Gaps]:
    """Tick while inside. The last gap ends with it."""
    gaps = Gaps()
    last_ns = monotonic_ns()

    def note() -> None:
        nonlocal last_ns
        now_ns = monotonic_ns()
        gaps.add((now_ns - last_ns) / _BILLION)
        last_ns = now_ns

    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            note()

    async with asyncio.TaskGroup() as group:
        ticking = group.create_task(tick(), name="ticks")
        try:
            yield gaps
        finally:
            ticking.cancel()
            note()
