"""Calls on a session's connection, each in a thread of its own that nobody has to wait for.

**Why not in the event loop.** Whoever sends bytes on a unix socket may send descriptors with them.
The receiver that doesn't ask for them closes them, and where that was the last use, it does what
closing takes: for a TCP socket with SO_LINGER and unsent data, wait for as long as the sender chose
(seen: `recv` took the 5 seconds that a test asked for). Closing the connection unread does the
same. In the loop that would stop tunnel and reports. Linux 6.16 can refuse descriptors
(SO_PASSRIGHTS), what hosts run today mostly can't.

**Why no pool.** Its threads are joined when the interpreter ends. A thread that is held up must not
hold up the agent's end: these are daemons, and the kernel lingers for no process that exits.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def begin(function: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Call `function` in a thread. Cancelling the future forgets the thread, which goes on."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def succeed(result: T) -> None:
        if not outcome.done():
            outcome.set_result(result)

    def fail(error: BaseException) -> None:
        if not outcome.done():
            outcome.set_exception(error)

    def work() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits any more
            try:
                result = function()
            except BaseException as error:  # noqa: BLE001 - whoever waits raises it
                loop.call_soon_threadsafe(fail, error)
            else:
                loop.call_soon_threadsafe(succeed, result)

    threading.Thread(target=work, name=name, daemon=True).start()
    return outcome
