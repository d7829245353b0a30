"""Processes of a model: each storage operation waits at a gate until the schedule lets it happen.

What becomes of an operation is decided there: it happens and is answered, happens without an
answer, never happens, or happens later. A process that ends does so at a gate, too: none of its
operations is answered ever again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from checkpoints.storage.failures import StorageAwayError
from common.clock import SystemClock
from tests.support.faulty_store import Cut

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from checkpoints.storage.storage import Listed, Range
    from tests.support.checkpoint_model_store import SimulatedStore

T = TypeVar("T")

PAGE = 8
"""Names that one request of a listing brings: few, so that others get in between."""
CHANGES = ("put_new", "delete")


class Fate(Enum):
    """What becomes of an operation."""

    ANSWERED = auto()
    LOST_BEFORE = auto()
    """It never happens."""
    LOST_AFTER = auto()
    """It happens, and its answer is lost."""
    LATE = auto()
    """No answer comes, and it happens some time later."""


@dataclass(eq=False)
class Operation:
    """One that waits at a gate."""

    name: str
    key: str
    act: Callable[[], Any]
    answer: asyncio.Future[Any]
    began: timedelta
    outcome: tuple[bool, Any] | None = None
    """What it led to, if it has happened: whether well, and the value or the exception."""

    @property
    def is_change(self) -> bool:
        return self.name in CHANGES

    def happen(self) -> None:
        """Do it; the answer may come later."""
        if self.outcome is None:
            try:
                self.outcome = True, self.act()
            except Exception as error:
                self.outcome = False, error
                if isinstance(error, AssertionError):
                    self.answer.cancel()  # the model's own: whoever waits comes to an end
                    raise


@dataclass(eq=False)
class Gate:
    """Where one process meets the store."""

    store: SimulatedStore
    waiting: list[Operation] = field(default_factory=list)
    late: list[Operation] = field(default_factory=list)
    """On their way, and answered by nobody: they happen when the schedule says so, or never."""
    wait_until: Callable[[timedelta], None] = lambda _: None
    """Lets the model's time pass."""
    sends: Callable[[str, bytes], None] = lambda _key, _data: None
    """Is told of each creation that is asked for, whatever becomes of it."""
    tells: Callable[[str], None] = lambda _: None
    """For people: what happened, in order."""
    is_cut: bool = False
    losses: int = 0
    passed: int = 0
    """How many operations were decided about."""

    async def pass_through(self, name: str, key: str, act: Callable[[], T]) -> T:
        """Wait to be let through."""
        if self.is_cut:
            raise Cut(f"cut before {name} of {key}")
        loop = asyncio.get_running_loop()
        operation = Operation(name, key, act, loop.create_future(), self.store.elapsed)
        self.waiting.append(operation)
        try:
            result: T = await operation.answer
        except asyncio.CancelledError:
            if operation in self.waiting:
                self.waiting.remove(operation)
                if operation.is_change and operation.outcome is None:
                    self.late.append(operation)  # it may have been sent
            raise
        return result

    def decide(self, operation: Operation, fate: Fate) -> None:
        """Let an operation have its fate."""
        self.waiting.remove(operation)
        self.passed += 1
        self.tells(f"{fate.name} {operation.name} {operation.key}")
        if fate in {Fate.ANSWERED, Fate.LOST_AFTER}:
            operation.happen()
        elif fate is Fate.LATE and operation.is_change and operation.outcome is None:
            self.late.append(operation)
        if operation.answer.done():
            return
        if fate is Fate.ANSWERED:
            assert operation.outcome is not None
            is_well, value = operation.outcome
            if is_well:
                operation.answer.set_result(value)
            else:
                operation.answer.set_exception(value)
            return
        self.losses += 1
        sentence = f"{operation.name} of {operation.key} was not answered"
        operation.answer.set_exception(
            StorageAwayError(sentence, operation=operation.name, key=operation.key)
        )

    def cut(self, fate: Callable[[], Fate]) -> None:
        """End the process: what was on its way has its fate, and no answer."""
        self.tells("ends")
        self.is_cut = True
        for operation in tuple(self.waiting):
            self.waiting.remove(operation)
            match fate():
                case Fate.LATE if operation.is_change and operation.outcome is None:
                    self.late.append(operation)
                case Fate.ANSWERED | Fate.LOST_AFTER:
                    operation.happen()
                case _:
                    pass
            if not operation.answer.done():
                operation.answer.set_exception(Cut(f"cut in {operation.name} of {operation.key}"))

    def arrive(self, operation: Operation) -> None:
        """Let a late operation happen."""
        self.late.remove(operation)
        self.tells(f"late: {operation.name} {operation.key}")
        operation.happen()


class GatedStorage:
    """A `Storage` behind a gate."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._store = gate.store

    async def get(self, key: str) -> bytes:
        return await self._gate.pass_through("get", key, lambda: self._store.read("get", key))

    async def get_range(self, key: str, start: int, length: int) -> bytes:
        return await self._gate.pass_through(
            "get_range", key, lambda: self._store.read_range(key, start, length)
        )

    async def get_suffix(self, key: str, length: int) -> bytes:
        return await self._gate.pass_through(
            "get_suffix", key, lambda: self._store.read("get_suffix", key)[-length:]
        )

    async def get_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        def act() -> list[bytes]:
            return [self._store.read_range(key, each.start, each.length) for each in ranges]

        return await self._gate.pass_through("get_ranges", key, act)

    async def put_new(self, key: str, data: bytes) -> None:
        self._gate.sends(key, data)
        await self._gate.pass_through("put_new", key, lambda: self._store.create(key, data))

    async def delete(self, key: str) -> None:
        await self._gate.pass_through("delete", key, lambda: self._store.remove(key))

    async def size(self, key: str) -> int:
        return await self._gate.pass_through(
            "size", key, lambda: len(self._store.read("size", key))
        )

    async def _page(self, prefix: str, after: str) -> list[Listed]:
        return await self._gate.pass_through(
            "list", prefix, lambda: self._store.page(prefix, after, PAGE)
        )

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        page = await self._page(prefix, after)
        while page:
            for listed in page:
                yield listed
            if len(page) < PAGE:
                return
            page = await self._page(prefix, page[-1].key)


class ProcessClock:
    """Durations by the model's time; the calendar by the machine's, set wrong by `behind`.

    The machine's, because files have its times: a writer compares them with its calendar.
    """

    def __init__(self, gate: Gate, behind: timedelta = timedelta()) -> None:
        self._gate = gate
        self._behind = behind

    def now(self) -> datetime:
        return SystemClock().now() - self._behind

    def monotonic(self) -> float:
        return 1000.0 + self._gate.store.elapsed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        due = self._gate.store.elapsed + timedelta(seconds=seconds)
        await self._gate.pass_through("sleep", "", lambda: self._gate.wait_until(due))
