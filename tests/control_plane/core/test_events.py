"""Changes reach every subscriber in order; one that falls behind is told to look again."""

from __future__ import annotations

import asyncio

from common.clock import SteppingClock, settle
from common.ids import SessionId
from control_plane.events import BACKLOG_MAX, Change, ChangeKind, EventBus, Resync


def change(number: int) -> Change:
    return Change(ChangeKind.CHANGED, SessionId(f"{number:08x}"))


async def test_subscribers_get_every_change_in_order() -> None:
    bus = EventBus()
    async with bus.subscribe() as one, bus.subscribe() as two:
        for number in range(3):
            bus.publish(change(number))
        for subscription in (one, two):
            assert [await anext(subscription) for _ in range(3)] == [change(n) for n in range(3)]


async def test_slow_subscriber_gets_one_resync_and_then_what_follows() -> None:
    bus = EventBus()
    async with bus.subscribe() as slow:
        for number in range(BACKLOG_MAX * 3):
            bus.publish(change(number))
        assert await anext(slow) == Resync()
        bus.publish(change(7))
        assert await anext(slow) == change(7)


async def test_nothing_is_kept_for_those_who_left() -> None:
    bus = EventBus()
    async with bus.subscribe():
        pass
    bus.publish(change(1))
    assert not bus._subscriptions


async def test_wait_ends_with_a_change_or_with_time() -> None:
    bus, clock = EventBus(), SteppingClock()
    async with bus.subscribe() as subscription, asyncio.TaskGroup() as group:
        waiting = group.create_task(subscription.wait(clock, 10))
        await settle()
        await clock.advance(9)
        assert not waiting.done()
        bus.publish(change(1))
        await settle()
        assert waiting.done()
        waiting = group.create_task(subscription.wait(clock, 10))
        await settle()
        await clock.advance(10)
        assert waiting.done()
