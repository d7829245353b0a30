"""Blocking calls off the event loop, in threads that nobody else can use up."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

THREADS_MAX = 4
"""Of a volume: a growth, a measurement and a snapshot at once, and one to spare: a snapshot waits
for the disk, and the growth must not wait for the snapshot."""

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """The threads of one volume or root; they are started when needed.

    A thread lives in the mount namespace of the thread that started it: whoever moves the process
    to another namespace does so before the first call.
    """

    def __init__(self, name: str) -> None:
        self._pool = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return `function(…)`, run in a thread.

        Cancelled meanwhile, it waits for the function's end before it passes that on: what the
        kernel has begun can't be called back, and the caller must not do the next thing beside it.
        """
        work = asyncio.wrap_future(self._pool.submit(function, *args, **kwargs))
        cancelled: asyncio.CancelledError | None = None
        while not work.done():
            try:
                await asyncio.wait({work})
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            work.exception()  # taken notice of
            raise cancelled
        return work.result()
