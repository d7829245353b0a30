"""Time as an argument: the system's clock, and one that tests step by hand.

Two readings are kept apart. `now` is calendar time, shown to people and written to the database;
it may jump. `monotonic` only grows, and is the only one that durations may be taken from.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What code may ask about time. Implementations: `SystemClock`, `SteppingClock`."""

    def now(self) -> datetime:
        """Return the calendar time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary point; never goes back."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds` of monotonic time; after one loop turn if not positive."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


class SteppingClock:
    """A clock that stands still until `advance` is called; sleepers wake in order of their time."""

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        self._now = start
        self._monotonic = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._now

    def monotonic(self) -> float:
        return self._monotonic

    @property
    def sleeping(self) -> int:
        """How many tasks wait in `sleep`: tests wait for this before they advance."""
        return sum(not future.done() for _, _, future in self._sleepers)

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self._monotonic + seconds
        heapq.heappush(self._sleepers, (due, next(self._order), future))
        await future

    def jump(self, seconds: float) -> None:
        """Move the calendar only, as an administrator or NTP does; monotonic time stays."""
        self._now += timedelta(seconds=seconds)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, waking each sleeper at its own instant and letting it run."""
        end = self._monotonic + seconds
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, future = heapq.heappop(self._sleepers)
            self._move_to(due)
            if not future.done():
                future.set_result(None)
            await settle()
        self._move_to(end)
        await settle()

    def _move_to(self, monotonic: float) -> None:
        self._now += timedelta(seconds=max(0.0, monotonic - self._monotonic))
        self._monotonic = max(self._monotonic, monotonic)


async def settle(turns: int = 20) -> None:
    """Give every ready task `turns` turns of the loop; enough for chains of awaits without I/O."""
    for _ in range(turns):
        await asyncio.sleep(0)
