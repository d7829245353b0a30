"""Blocking calls off the event loop, in threads that nobody else can use up.

`Threads` is for calls that end: whoever made them waits for that. `begin` is for those of which
nobody knows whether they ever will.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

P = ParamSpec("P")
T = TypeVar("T")


class Threads:
    """A few threads for one piece of work or one thing; they are started when needed.

    A thread lives in the mount namespace of the thread that started it: whoever moves the process
    to another namespace does so before the first call.
    """

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

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

    def __enter__(self) -> Threads:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """All that was asked for has been waited for: nothing runs any more."""
        self._pool.shutdown(wait=False)


def begin(function: Callable[[], T], *, name: str) -> asyncio.Future[T]:
    """Call `function` in a thread. Cancelling the future forgets the thread, which goes on.

    It is none of a pool: those are joined when the interpreter ends. A thread that is held up must
    not hold up the program's end: these are daemons.
    """
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
