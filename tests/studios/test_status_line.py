"""How often the status line looks: never a noticeable share of the time."""

from __future__ import annotations

import asyncio
from io import StringIO
from typing import TYPE_CHECKING, cast

from rich.console import Console

from studios.up.status_line import LOOK_SECONDS_MIN, keep_shown
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from studios.client import Client
    from studios.shapes import Studio

LOOKS = 10


class SlowClient:
    """Listing takes a while; ends the looking after some looks."""

    def __init__(self, clock: HurriedClock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._looks = 0

    async def studios(self) -> list[Studio]:
        if self._looks == LOOKS:
            raise asyncio.CancelledError
        self._looks += 1
        await self._clock.sleep(self._seconds)
        return []


async def seconds_of(look_seconds: float) -> float:
    """Return how long ten looks and the pauses after them take."""
    clock = HurriedClock()
    client = cast("Client", SlowClient(clock, look_seconds))
    try:
        await keep_shown(client, Console(file=StringIO()), clock)
    except asyncio.CancelledError:
        return clock.elapsed
    raise AssertionError("it ended by itself")


async def test_where_looking_is_quick_it_is_fresh() -> None:
    assert await seconds_of(0.001) < LOOKS * (LOOK_SECONDS_MIN + 0.01)


async def test_where_looking_takes_long_it_is_seldom() -> None:
    assert LOOKS * 0.8 / await seconds_of(0.8) < 0.021
