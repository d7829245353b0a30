"""When nothing moves any more: every task and every thread waits for something else.

That is what makes a schedule repeatable although the code under test has threads: between two
storage operations they run as they like, and the next operation is chosen when all are at rest.
"""

from __future__ import annotations

import asyncio
import select
import sys
import threading
from concurrent.futures import thread as pools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import CodeType, FrameType

LOOKS_MAX = 20_000
"""Of 50 µs each: a thread that works for a second between two operations is stuck."""
_LOOK_SECONDS = 0.00005


async def rest() -> None:
    """Return when all ready tasks have run, and every other thread waits."""
    loop = asyncio.get_running_loop()
    ready: object = getattr(loop, "_ready")  # noqa: B009 (no other way to ask a loop)
    assert hasattr(ready, "__len__")
    quiet = 0
    for _ in range(LOOKS_MAX):
        await asyncio.sleep(0)
        if len(ready):
            quiet = 0
            continue
        quiet = 0 if working_threads() else quiet + 1
        if quiet > 1:
            return
        select.select([], [], [], _LOOK_SECONDS)  # lets them have Python's lock
    raise AssertionError(f"these threads do not come to rest: {working_threads()}")


def working_threads() -> list[str]:
    """Return where threads are that don't wait for anybody."""
    own = threading.get_ident()
    frames = sys._current_frames()
    return [
        f"{frame.f_code.co_qualname}:{frame.f_lineno}"
        for ident, frame in frames.items()
        if ident != own and not _waits(frame, frames)
    ]


_JOINS: CodeType = getattr(threading.Thread, "_wait_for_tstate_lock").__code__  # noqa: B009
_WORKS: CodeType = getattr(pools, "_worker").__code__  # noqa: B009


def _waits(frame: FrameType, frames: Mapping[int, FrameType]) -> bool:
    code = frame.f_code
    if code is threading.Condition.wait.__code__:
        event = frame.f_back
        if event and event.f_back and event.f_back.f_code is threading.Thread.start.__code__:
            return False  # for a thread that is about to begin, and isn't among those yet
        waiter = frame.f_locals.get("waiter")
        return waiter is not None and waiter.locked()  # else it was woken, and hasn't run yet
    if code is _WORKS:
        return "work_item" not in frame.f_locals and not frame.f_locals["work_queue"].qsize()
    return code is _JOINS and frame.f_locals["self"].ident in frames
