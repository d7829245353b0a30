"""A thread that asks the event loop for what it reads, and ends when its owner is cancelled."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

T = TypeVar("T")


def _nothing() -> None:
    pass


class Interruptible:
    """One thread. Belongs to the event loop that runs."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._threads = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._is_stopped = False
        self._awaited: Future[Any] | None = None

    async def run(self, function: Callable[[], T], *, stop: Callable[[], None] = _nothing) -> T:
        """Return `function()`, run in the thread. Cancelled, the function ends before this does.

        What it waits for is cancelled then; `stop` does that where it isn't `wait_for`.
        """
        work = asyncio.wrap_future(self._threads.submit(function))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            self._is_stopped = True
            if self._awaited is not None:
                self._awaited.cancel()
            stop()
            raise
        finally:
            while not work.done():
                await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # taken notice of

    def wait_for(self, act: Coroutine[object, object, T]) -> T:
        """Return what a coroutine returns that the event loop runs. Only for the thread."""
        future = asyncio.run_coroutine_threadsafe(act, self._loop)
        self._awaited = future
        if self._is_stopped:
            future.cancel()
        return future.result()

    def close(self) -> None:
        """Let the thread end."""
        self._threads.shutdown(wait=False)
