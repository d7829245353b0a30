"""The stepping clock wakes sleepers in order, and only when their time has come."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from common.clock import SteppingClock, SystemClock, settle


async def test_sleepers_wake_at_their_own_instants_in_order() -> None:
    clock = SteppingClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((name, clock.monotonic() - start))

    start = clock.monotonic()
    async with asyncio.TaskGroup() as group:
        for name, seconds in (("late", 5.0), ("soon", 1.0), ("middle", 3.0)):
            group.create_task(sleeper(name, seconds))
        await settle()
        assert clock.sleeping == 3
        await clock.advance(3.5)
        assert woken == [("soon", 1.0), ("middle", 3.0)]
        await clock.advance(10)
    assert woken[2] == ("late", 5.0)


async def test_a_cancelled_sleeper_is_forgotten() -> None:
    clock = SteppingClock()
    task = asyncio.get_running_loop().create_task(clock.sleep(1))
    await settle()
    task.cancel()
    await asyncio.wait([task])
    assert clock.sleeping == 0
    await clock.advance(2)


async def test_a_calendar_jump_wakes_nobody() -> None:
    clock = SteppingClock()
    before, monotonic = clock.now(), clock.monotonic()
    clock.jump(-3600)
    assert clock.now() == before - timedelta(hours=1)
    assert clock.monotonic() == monotonic


async def test_the_system_clock_is_aware_and_never_sleeps_backwards() -> None:
    clock = SystemClock()
    assert clock.now().utcoffset() == timedelta(0)
    before = clock.monotonic()
    await clock.sleep(-5)
    assert clock.monotonic() >= before


async def test_sleeping_no_time_lets_others_run() -> None:
    clock = SteppingClock()
    await clock.sleep(0)
    assert clock.sleeping == 0
