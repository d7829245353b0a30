"""A history of a model: steps that anything random may choose, one after the other.

Numbers choose among what there is; where there is nothing, nothing happens. So any list of steps is
a history, and what is left of one when steps are taken out is one, too.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

from checkpoints.format import mark as mark_format, names
from checkpoints.format.ids import CheckpointId
from checkpoints.writing import pack_writer
from tests.support.checkpoint_model import OPERATIONS_MAX, World
from tests.support.checkpoint_model_actors import Collector, Deleter, Looker, Reader, Run
from tests.support.checkpoint_model_gate import Fate
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from tests.support.checkpoint_model import Process

T = TypeVar("T")

HOUR = 3600
PACK_BYTES = 400
"""Most packs have one chunk, so that each is needed or not by itself."""
COLLECTIONS_TO_THE_END = 14
"""Each a day after the other: after a week, packs are rewritten to be compressed better, and three
days later, what they were before is gone."""


class History:
    """See the module."""

    def __init__(self) -> None:
        self._scaled = ExitStack()
        patch = self._scaled.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(pack_writer, "PACK_BYTES_FULL", PACK_BYTES)
        self._scaled.enter_context(small_nodes())
        self.folder = Path(tempfile.mkdtemp(prefix="checkpoint-model-"))
        self.world = World()
        self.world.open()
        self.runs: list[Run] = []
        self.count = 0
        self.begin(0, 1000)

    def close(self) -> None:
        try:
            self.world.close()
        finally:
            self._scaled.close()
            shutil.rmtree(self.folder)

    def _do(self, act: Coroutine[object, object, T]) -> T:
        return self.world.runner.run(act)

    def _perform(
        self,
        actor: Run | Reader | Collector | Deleter | Looker,
        program: Coroutine[None, None, None],
        operations: int = OPERATIONS_MAX,
    ) -> None:
        """Have it begin, and go on for so many operations, or to its end."""
        self._do(self.world.start(actor.process, program, actor.permits))
        self._do(self.world.run(actor.process, operations))

    def _number(self) -> int:
        self.count += 1
        return self.count

    def _busy(self) -> list[Process]:
        return [process for process in self.world.processes if process.is_busy]

    def _ready(self, number: int) -> Run | None:
        ready = [run for run in self.runs if run.is_ready]
        return ready[number % len(ready)] if ready else None

    # ── Runs ──

    def begin(self, behind_days: int, operations: int) -> None:
        """Start a Studio anew."""
        self._begin(None, behind_days, operations, seals=False)

    def continue_(self, number: int, *, seals: bool, behind_days: int, operations: int) -> None:
        """Start a Studio from a checkpoint: its own latest one, or as new from any that is over."""
        parent = self.runs[number % len(self.runs)].checkpoint_id
        self._begin(parent, behind_days, operations, seals=seals)

    def _begin(
        self, parent_id: CheckpointId | None, behind_days: int, operations: int, *, seals: bool
    ) -> None:
        number = self._number()
        run = self._run(CheckpointId(f"{number:016x}"), number, behind_days)
        run.folder.mkdir()
        program = run.begin(parent_id, seals=seals)
        self._perform(run, program, operations)

    def _run(self, checkpoint_id: CheckpointId, run_number: int, behind_days: int) -> Run:
        name = f"run {run_number} of {checkpoint_id} ({len(self.runs)})"
        process = self.world.process(name, behind=timedelta(days=behind_days))
        folder = self.folder / f"{len(self.runs)}"
        run = Run(self.world, process, checkpoint_id, run_number, folder)
        self.runs.append(run)
        return run

    def begin_again(
        self, number: int, *, is_later: bool, is_cut: bool, behind_days: int, operations: int
    ) -> None:
        """Go on with a checkpoint and a copy of its volume, maybe beside who did that before."""
        old = self.runs[number % len(self.runs)]
        if is_cut:
            self._do(self.world.cut(old.process, lambda: Fate.LOST_BEFORE))
        run_number = self._number() if is_later else old.run_number
        run = self._run(old.checkpoint_id, run_number, behind_days)
        subprocess.run(["cp", "-a", old.folder, run.folder], check=True)
        run.touched, run.asked_for, run.parent, run.base = None, old.asked_for, old.parent, old.base
        self._perform(run, run.go_on(), operations)

    def write(
        self,
        number: int,
        edits: Sequence[tuple[str, bytes, int]],
        *,
        is_listed: bool,
        is_final: bool,
        operations: int,
    ) -> None:
        run = self._ready(number)
        if run is None:
            return
        for edit in edits:
            run.edit(*edit)
        program = run.write(is_final=is_final, is_listed=is_listed)
        self._perform(run, program, operations)

    def work(self, number: int, writes: Sequence[Sequence[tuple[str, bytes, int]]]) -> None:
        """Write again and again, and sweep up."""
        run = self._ready(number)
        for edits in writes:
            if run is None or not run.is_ready:
                return
            for edit in edits:
                run.edit(*edit)
            self._perform(run, run.write(is_listed=True))
            if run.is_ready:
                self._perform(run, run.sweep())

    def succeed(
        self,
        number: int,
        writes: Sequence[Sequence[tuple[str, bytes, int]]],
        *,
        is_deleted: bool,
        operations: int,
    ) -> None:
        """End a run, and continue it with another, of whose parent maybe nothing is left."""
        run = self._ready(number)
        if run is None:
            return
        self._perform(run, run.write(is_final=True))
        self._begin(run.checkpoint_id, 0, operations, seals=is_deleted)
        if self.runs[-1].is_ready:
            self.work(len([run for run in self.runs if run.is_ready]) - 1, writes)
        if is_deleted:
            self.delete(self.runs.index(run), 1000)

    def race(
        self,
        number: int,
        edits: Sequence[tuple[str, bytes, int]],
        operations: int | None,
        meanwhile: Sequence[tuple[str, int]],
    ) -> None:
        """Write up to some operation, or to the record, let others do something, and go on."""
        run = self._ready(number)
        if run is None:
            return
        for edit in edits:
            run.edit(*edit)
        self._do(self.world.start(run.process, run.write(), run.permits))
        if operations is None:
            self._do(self.world.run_to_record(run.process))
        else:
            self._do(self.world.run(run.process, operations))
        for what, argument in meanwhile:
            if what == "wait":
                self.world.wait(argument * 60)
            elif what == "collect":
                self.collect(0, 1000)
            elif what == "sweep":
                for number in range(len(self.runs)):
                    self.sweep(number, 1000)
            else:
                self.delete(argument, 1000)
        if run.process.is_busy:
            self._do(self.world.run(run.process))

    def sweep(self, number: int, operations: int) -> None:
        run = self._ready(number)
        if run is not None:
            self._perform(run, run.sweep(), operations)

    # ── Others ──

    def read(self, number: int, *, restores: bool, operations: int) -> None:
        """Read a generation, maybe one that is long gone."""
        places = sorted(self.world.reference.known)
        if places:
            process = self.world.process(f"reader {self._number()}")
            reader = Reader(self.world, process, places[number % len(places)])
            folder = self.folder / f"restored{self.count}" if restores else None
            self._perform(reader, reader.read(folder), operations)

    def verify(self, operations: int) -> None:
        process = self.world.process(f"verification {self._number()}")
        looker = Looker(process)
        self._perform(looker, looker.verify(), operations)

    def delete(self, number: int, operations: int) -> None:
        """Delete a checkpoint, whoever may be using it."""
        run = self.runs[number % len(self.runs)]
        process = self.world.process(f"deletion {self._number()}")
        deleter = Deleter(self.world, process, run.checkpoint_id)
        self._perform(deleter, deleter.delete(), operations)

    def collect(self, behind_days: int, operations: int) -> None:
        name = f"collection {self._number()}"
        process = self.world.process(name, behind=timedelta(days=behind_days))
        collector = Collector(process, self.world.store.elapsed)
        self._perform(collector, collector.collect(), operations)

    def collect_repeatedly(self, times: int, hours: int) -> None:
        """As time passes, and whoever is in the middle of something stays there."""
        for _ in range(times):
            self.world.wait(hours * HOUR)
            self.collect(0, 1000)

    # ── The schedule ──

    def go_on(self, number: int, which: int, operations: int) -> None:
        """Let somebody do a part of what is left to do."""
        busy = self._busy()
        if busy:
            process = busy[number % len(busy)]
            self._do(self.world.step(process, which))
            self._do(self.world.run(process, operations))

    def decide(self, number: int, which: int, fate: Fate) -> None:
        """Let something become of an operation."""
        busy = self._busy()
        if busy:
            self._do(self.world.step(busy[number % len(busy)], which, fate))

    def cut(self, number: int, fates: Sequence[Fate]) -> None:
        """End a process in the middle of something."""
        busy = self._busy()
        if busy:
            coming = iter(fates)
            act = self.world.cut(busy[number % len(busy)], lambda: next(coming, Fate.LOST_BEFORE))
            self._do(act)

    def arrive(self, number: int) -> None:
        """Let something happen that was given up long ago."""
        late = self.world.late()
        if late:
            gate, operation = late[number % len(late)]
            gate.arrive(operation)

    def mark(self, number: int) -> None:
        """Say of a pack that it is damaged. It isn't, so nothing of it may be lost."""
        store = self.world.store
        packs = [pack[1] for key in sorted(store.objects) if (pack := names.parse_pack(key))]
        if packs and (key := names.mark(packs[number % len(packs)])) not in store.objects:
            store.create(key, mark_format.encode([]))

    def wait(self, minutes: int, *, is_stale: bool) -> None:
        self.world.wait(minutes * 60, is_stale=is_stale)

    # ── The end ──

    def conclude(self) -> None:
        """Let everybody come to an end: all that is needed can be had, and nothing else is left."""
        for process in self._busy():
            self._do(self.world.run(process))
        for gate, operation in self.world.late():
            gate.arrive(operation)
        self.collect_repeatedly(COLLECTIONS_TO_THE_END, 25)
        self.verify(1000)
        for known in tuple(self.world.reference.standing()):
            process = self.world.process(f"reader of {known.record.place}")
            reader = Reader(self.world, process, known.record.place)
            self._do(self.world.start(process, reader.read()))
            self._do(self.world.run(process))
        self.world.reference.check_nothing_left()
