"""Background tasks with a name and an owner.

Where a `TaskGroup`'s block structure fits, use that. A `TaskBag` is for owners that start tasks
from callbacks (protocols, handlers). The rule is the same: nobody loses a task, and a task that
dies of a bug ends its owner, who learns it from `failed`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable

T = TypeVar("T")

_log = structlog.get_logger()


async def side_by_side(
    items: Iterable[T], act: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """Do something for each item, for so many at once, begun in their order.

    The first failure ends the others, and is raised itself rather than in a group.
    """
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await act(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(work())
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None


def first_of(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one of several failures: they have one cause mostly, and one sentence is read."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class TaskBag:
    """The tasks of one owner. `failed` resolves with the first unexpected exception."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()

    def spawn(self, coroutine: Coroutine[Any, Any, Any], *, name: str) -> asyncio.Task[Any]:
        """Start `coroutine` as a task called `owner/name` and keep it until it ends."""
        task = asyncio.get_running_loop().create_task(coroutine, name=f"{self.owner}/{name}")
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.error("task_died", task=task.get_name(), exc_info=error)
        if self._failure is None:
            self._failure = error
            self._failed.set()

    async def failed(self) -> None:
        """Wait until a task dies of an exception, then raise it; owners run this beside work."""
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure

    async def close(self) -> None:
        """Cancel what still runs and wait for it. Idempotent."""
        while self._tasks:
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
