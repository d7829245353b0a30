"""Changes, told to whoever listens: the page's event stream, the edges' feed, the reconciler.

An event carries no state, only what to look at again, so losing one costs nothing but time. A
subscriber that falls behind loses its backlog and gets one `Resync` instead: look at everything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from common.ids import SessionId
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.clock import Clock

BACKLOG_MAX = 256
"""More changes than this unread and re-reading everything is cheaper."""


class ChangeKind(StrEnum):
    """What happened to a Studio."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    ACCESS = "access"
    """Somebody may have won or lost access. `session_id` None: to any Studio."""


class Change(msgspec.Struct, frozen=True):
    """One Studio is not what it was."""

    kind: ChangeKind
    session_id: SessionId | None


class Resync(msgspec.Struct, frozen=True):
    """Changes were lost: look at everything again."""


class Subscription:
    """What one subscriber has not read yet; iterate over it."""

    def __init__(self) -> None:
        self._backlog: deque[Change | Resync] = deque()
        self._ready = asyncio.Event()

    def put(self, change: Change) -> None:
        if len(self._backlog) >= BACKLOG_MAX:
            self._backlog.clear()
            self._backlog.append(Resync())
        elif not (self._backlog and isinstance(self._backlog[0], Resync)):
            self._backlog.append(change)
        self._ready.set()

    async def wait(self, clock: Clock, seconds: float) -> None:
        """Return once there is something unread, or after `seconds`; what is unread is dropped."""
        tasks = TaskBag("subscription")
        try:
            pause = tasks.spawn(clock.sleep(seconds), name="pause")
            told = tasks.spawn(self._wait(), name="told")
            await asyncio.wait({pause, told}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await tasks.close()
        self._backlog.clear()

    async def _wait(self) -> None:
        while not self._backlog:
            self._ready.clear()
            await self._ready.wait()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Change | Resync:
        await self._wait()
        return self._backlog.popleft()


class EventBus:
    """Publish to all; nobody waits for anybody."""

    def __init__(self) -> None:
        self._subscriptions: set[Subscription] = set()

    def publish(self, change: Change) -> None:
        for subscription in self._subscriptions:
            subscription.put(change)

    @asynccontextmanager
    async def subscribe(self) -> AsyncIterator[Subscription]:
        """Every change published while the block runs, in order."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
