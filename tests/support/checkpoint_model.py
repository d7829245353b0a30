"""A world of processes that share a store: who goes on when, what becomes of it, how time passes.

processes ─ gates ─ SimulatedStore ─ `Reference`: what must hold after every change
"""

from __future__ import annotations

import asyncio
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.repository import Repository
from checkpoints.storage.retrying import Retrying, RetryPolicy
from tests.support.checkpoint_model_gate import (
    Fate,
    Gate,
    GatedStorage,
    Operation,
    ProcessClock,
)
from tests.support.checkpoint_model_reference import Reference
from tests.support.checkpoint_model_rest import rest
from tests.support.checkpoint_model_store import SimulatedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

    from tests.support.checkpoint_model_reference import Committed

IN_FLIGHT_SECONDS_MAX = 3600
"""What a creation or deletion may take until it happens: the format's document counts on that."""
OPERATIONS_MAX = 5000
"""Of one program; more is an endless loop."""
TRIES_MAX = 3
RESTS_MAX = 1000
SECONDS_TO_END = 10
"""For a process whose every operation fails."""


@dataclass(eq=False)
class Process:
    """Somebody who uses the store."""

    name: str
    gate: Gate
    clock: ProcessClock
    seed: int
    writes: Committed | None = None
    """What its next record is to hold."""
    task: asyncio.Task[None] | None = None
    permits: Callable[[BaseException], bool] = lambda _: False
    """Which failures are honest."""

    @property
    def is_busy(self) -> bool:
        return self.task is not None

    @property
    def is_astir(self) -> bool:
        """Whether it waits for nothing: threads were seen at rest that the kernel had held up."""
        return self.task is not None and not self.task.done() and not self.gate.waiting

    async def repository(self) -> Repository:
        """Open it anew, knowing nothing."""
        rng = random.Random(self.seed)
        policy = RetryPolicy(tries_max=TRIES_MAX)
        storage = Retrying(GatedStorage(self.gate), clock=self.clock, rng=rng, policy=policy)
        return await Repository.open(storage, clock=self.clock, rng=rng)


@dataclass(eq=False)
class World:
    """See the module. All but `wait` and what asks belongs into its own event loop."""

    store: SimulatedStore = field(default_factory=SimulatedStore)
    processes: list[Process] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reference = Reference(self.store)
        self.runner = asyncio.Runner(debug=False)
        self.runner.get_loop().set_default_executor(ThreadPoolExecutor(64))

    def open(self) -> None:
        """Lay the repository down."""
        clock = ProcessClock(Gate(self.store))
        self.runner.run(Repository.open(self.store, create=True, clock=clock, rng=random.Random(0)))
        self.reference.listen()

    def close(self) -> None:
        """End all processes and threads."""
        self.runner.run(self._end())
        self.runner.close()

    async def _end(self) -> None:
        self.store.created = self.store.deleted = lambda _: None
        for process in self.processes:
            process.gate.cut(lambda: Fate.LOST_BEFORE)
        tasks = [process.task for process in self.processes if process.task is not None]
        if tasks:
            _, stuck = await asyncio.wait(tasks, timeout=SECONDS_TO_END)
            assert not stuck, [(task, task.get_stack()) for task in stuck]
        for task in tasks:
            if not task.cancelled():
                task.exception()  # taken notice of

    # ── Processes ──

    def process(self, name: str, *, behind: timedelta = timedelta()) -> Process:
        """Return a new one."""
        gate = Gate(self.store, wait_until=self.wait_until)
        process = Process(name, gate, ProcessClock(gate, behind), seed=len(self.processes))

        def sends(key: str, data: bytes) -> None:
            if names.parse_record(key) is not None:
                self.reference.sends(process, data, process.writes)

        def tells(what: str) -> None:
            self.log.append(f"{self.store.elapsed.total_seconds() / 3600:7.1f} h {name}: {what}")

        gate.sends = sends
        gate.tells = tells
        self.processes.append(process)
        return process

    async def start(
        self,
        process: Process,
        program: Coroutine[None, None, None],
        permits: Callable[[BaseException], bool] = lambda _: False,
    ) -> None:
        """Let a process begin something, up to its first operation."""
        assert process.task is None
        process.permits = permits
        process.task = asyncio.get_running_loop().create_task(program, name=process.name)
        await self._rest()

    async def step(self, process: Process, which: int = 0, fate: Fate = Fate.ANSWERED) -> None:
        """Decide about one of a process's operations, and let it go on to the next."""
        if process.gate.is_cut:
            await self._rest()  # it ended while time passed
            return
        waiting = sorted(process.gate.waiting, key=lambda each: (each.key, each.name))
        assert waiting, f"{process.name} waits for nothing that can be had"
        process.gate.decide(waiting[which % len(waiting)], fate)
        await self._rest()

    async def run(self, process: Process, operations: int = OPERATIONS_MAX) -> None:
        """Let a process go on for so many operations, or to its end."""
        for _ in range(operations):
            if not process.is_busy:
                return
            await self.step(process)
        assert operations < OPERATIONS_MAX, f"{process.name} never ends"

    async def run_to_record(self, process: Process) -> None:
        """Let a process go on until it is about to create a record, or to its end."""
        while process.is_busy:
            waiting = process.gate.waiting
            if any(each.name == "put_new" and names.parse_record(each.key) for each in waiting):
                return
            await self.step(process)

    async def cut(self, process: Process, fate: Callable[[], Fate]) -> None:
        """End a process at once."""
        process.gate.cut(fate)
        await self._rest()

    async def _rest(self) -> None:
        for _ in range(RESTS_MAX):
            await rest()
            if not any(process.is_astir for process in self.processes):
                break
        for process in self.processes:
            task = process.task
            if task is None or not task.done():
                continue
            process.task = None
            error = task.exception()
            if error is None or process.gate.is_cut:
                continue
            for each in _leaves(error):
                if not process.permits(each):
                    raise AssertionError(f"{process.name} failed: {each!r}") from error

    # ── Time ──

    def wait(self, seconds: float, *, is_stale: bool = False) -> None:
        """Let time pass, in which nobody goes on.

        What was sent happens within its time, and is answered whenever its sender goes on. So do
        reads, if their answers are to be `stale` by then. Who would sleep for longer in the pause
        before another try ends: nothing but the next look helps against that.
        """
        self.wait_until(self.store.elapsed + timedelta(seconds=seconds), is_stale=is_stale)

    def wait_until(self, elapsed: timedelta, *, is_stale: bool = False) -> None:
        limit = elapsed - timedelta(seconds=IN_FLIGHT_SECONDS_MAX)
        for process in self.processes:
            gate = process.gate
            for operation in tuple(gate.waiting):
                if operation.name == "sleep" and operation.began < limit:
                    gate.cut(lambda: Fate.LOST_BEFORE)
                    break
                is_sent = operation.is_change or (is_stale and operation.name != "sleep")
                if is_sent and operation.began < limit:
                    operation.happen()
            for operation in tuple(gate.late):
                if operation.began < limit:
                    gate.arrive(operation)
        self.store.elapsed = max(self.store.elapsed, elapsed)

    def late(self) -> list[tuple[Gate, Operation]]:
        """Return what is on its way and may happen at any time."""
        return [(each.gate, late) for each in self.processes for late in each.gate.late]


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
