"""Ctrl-C and SIGTERM as events: what `studios up` is asked to do, whatever it does just now."""

from __future__ import annotations

import asyncio
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator

T = TypeVar("T")


class Wishes:
    """What the person, or the service manager, wants. Wishes are never taken back.

    First Ctrl-C: `end`, sessions stopped properly. A second one: `leave` too, at once and with
    sessions running. SIGTERM is for service managers that restart us: `leave`, and `end`.
    """

    def __init__(self) -> None:
        self.end = asyncio.Event()
        self.leave = asyncio.Event()
        self.interrupted_twice = False

    def interrupt(self) -> None:
        if self.end.is_set():
            self.interrupted_twice = True
            self.leave.set()
        self.end.set()

    def terminate(self) -> None:
        self.leave.set()
        self.end.set()


@contextmanager
def heard(wishes: Wishes) -> Iterator[None]:
    """Hear signals while inside."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, wishes.interrupt)
    loop.add_signal_handler(signal.SIGTERM, wishes.terminate)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        loop.remove_signal_handler(signal.SIGTERM)


async def unless(event: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """Return what `work` returns, or None if `event` came first; then `work` is cancelled."""
    async with asyncio.TaskGroup() as tasks:
        working = tasks.create_task(work)
        waiting = tasks.create_task(event.wait())
        await asyncio.wait((working, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not working.done():
            working.cancel()
    return None if working.cancelled() else working.result()
