"""Waits with a limit, on a `Clock`, so that tests step through them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.clock import Clock


async def wait_event(event: asyncio.Event, clock: Clock, seconds: float) -> bool:
    """Return True once `event` is set, False after `seconds`, whichever comes first."""
    if event.is_set():
        return True
    async with asyncio.TaskGroup() as race:
        signal = race.create_task(event.wait(), name="wait-event")
        timer = race.create_task(clock.sleep(seconds), name="wait-limit")
        await asyncio.wait({signal, timer}, return_when=asyncio.FIRST_COMPLETED)
        signal.cancel()
        timer.cancel()
    return event.is_set()
