"""A `Saver` in memory: what it keeps promises as the real one does, and it fails when told to.

Several share a `FakeStore`, as the agents of several hosts share a work directory. It knows files
and their bytes, nothing else of them.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from agent.checkpointing.facts import Restored, RestoreProgress, Saved, SaveProgress, Swept
from agent.checkpointing.saver import (
    DamagedCheckpointError,
    ParentBusyError,
    ParentGoneError,
    SaverDiedError,
    SupersededError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from agent.checkpointing.saver import SaverError
    from common.clock import Clock

Tree = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class _Record:
    run_number: int
    saved: Saved | None
    """None for a seal."""
    tree: Mapping[str, bytes]
    base: Mapping[str, bytes]


@dataclass
class FakeStore:
    """A work directory."""

    exists: bool = False
    """Whether it holds checkpoints at all."""
    records: dict[str, list[_Record]] = field(default_factory=lambda: defaultdict(list))
    """By checkpoint, oldest first."""
    damaged: set[str] = field(default_factory=set)
    """Roots of trees that can't be restored."""

    def generations(self, checkpoint_id: str) -> list[Saved]:
        """Return those of a checkpoint, oldest first."""
        found = self.records.get(checkpoint_id, [])
        return [record.saved for record in found if record.saved is not None]

    def tree(self, saved: Saved) -> Tree:
        """Return the files of a generation."""
        return dict(self._of(saved).tree)

    def is_sealed(self, checkpoint_id: str) -> bool:
        return any(record.saved is None for record in self.records.get(checkpoint_id, []))

    def delete(self, checkpoint_id: str) -> None:
        self.records.pop(checkpoint_id, None)

    def _of(self, saved: Saved) -> _Record:
        for record in self.records.get(saved.checkpoint_id, []):
            if record.saved is not None and record.saved.generation == saved.generation:
                return record
        raise ParentGoneError(f"Checkpoint {saved.checkpoint_id} is not there any more.")


class FakeSaver:
    """See `agent.checkpointing.saver.Saver`."""

    def __init__(self, store: FakeStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._turn = asyncio.Lock()
        self._opened: tuple[str, int, str] | None = None
        self._base: Mapping[str, bytes] = {}
        self._volume = 0
        self._has_written = False
        self._is_closed = False
        self.failures: dict[str, deque[SaverError]] = defaultdict(deque)
        """By the call's name: what the next ones raise, before they do anything."""
        self.lost: dict[str, deque[SaverError]] = defaultdict(deque)
        """The same, once they have done it: as if the answer was lost."""
        self.after: Callable[[], None] = lambda: None
        """Called when one has done it, before it returns."""
        self.gates: dict[str, asyncio.Event] = {}
        """By the call's name: it begins when that is set."""
        self.waiting: list[str] = []
        """Calls at a gate."""
        self.progress = asyncio.Event()
        """Set, a call that waits at a gate tells of progress, once."""
        self.too_long = 0
        """Names that each write leaves out."""
        self.calls: list[str] = []
        """That were begun, in their order."""
        self.originals: list[Path | None] = []
        """What each write was given."""
        self.rests = 0

    async def seal(self, checkpoint_id: str, run_number: int) -> Saved | None:
        async with self._turn:
            await self._begin("seal")
            if not self._store.exists:
                raise ParentGoneError("The work directory holds no checkpoints.")
            records = self._store.records[checkpoint_id]
            if any(record.run_number > run_number for record in records):
                raise SupersededError(f"Checkpoint {checkpoint_id} was taken over by a later run.")
            if not records or records[-1].saved or records[-1].run_number != run_number:
                records.append(_Record(run_number, None, {}, {}))
            self._end("seal")
            return self._newest(checkpoint_id, None)

    async def newest(self, checkpoint_id: str, *, before: int | None = None) -> Saved | None:
        async with self._turn:
            await self._begin("newest")
            self._end("newest")
            return self._newest(checkpoint_id, before)

    async def open(
        self, checkpoint_id: str, *, run_number: int, image: str, parent: Saved | None
    ) -> Saved | None:
        async with self._turn:
            self._opened = None
            await self._begin("open")
            self._store.exists = True
            self._check_fence(checkpoint_id, run_number)
            newest = self._newest(checkpoint_id, None)
            if newest is None and parent is not None:
                newest = self._inherit(checkpoint_id, run_number, image, parent)
            self._opened, self._has_written = (checkpoint_id, run_number, image), False
            self._base = self._store._of(newest).base if newest is not None else {}
            self._volume = newest.volume if newest is not None else 0
            self._end("open")
            return newest

    async def write(
        self,
        folder: Path,
        *,
        originals: Path | None = None,
        changes: Sequence[bytes] | None,
        final: bool = False,
        progress: Callable[[SaveProgress], None] = lambda _: None,
    ) -> Saved:
        async with self._turn:
            assert self._opened is not None, "a checkpoint is opened before it is written"
            self.originals.append(originals)
            told = SaveProgress(entries=1, read_bytes=1, stored_bytes=1)
            await self._begin("write", lambda: progress(told))
            checkpoint_id, run_number, image = self._opened
            self._check_fence(checkpoint_id, run_number)
            tree = {**self._base, **_tree_of(folder)}
            saved = self._saved(checkpoint_id, run_number, image, tree, self._volume, final=final)
            self._store.records[checkpoint_id].append(_Record(run_number, saved, tree, self._base))
            self._has_written = True
            self._end("write")
            return saved

    async def sweep(self) -> Swept:
        async with self._turn:
            await self._begin("sweep")
            return Swept(records=int(self._has_written), deleted_bytes=0, refused=0)

    async def restore(
        self,
        saved: Saved,
        folder: Path,
        *,
        over: Sequence[Path],
        progress: Callable[[RestoreProgress], None] = lambda _: None,
    ) -> Restored:
        async with self._turn:
            told = RestoreProgress(entries=saved.entries, file_bytes=saved.file_bytes)
            await self._begin("restore", lambda: progress(told))
            tree = self._store._of(saved).tree
            if saved.root in self._store.damaged:
                raise DamagedCheckpointError(f"Generation {saved.generation} is damaged.")
            for path, content in tree.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(content)
            progress(told)
            self._end("restore")
            return Restored(entries=saved.entries, file_bytes=saved.file_bytes)

    async def rest(self) -> None:
        async with self._turn:
            self.rests += 1
            self._has_written = False

    async def close(self) -> None:
        self._is_closed = True

    # ── How a call goes ──────────────────────────────────────────────────────

    async def _begin(self, name: str, move: Callable[[], None] = lambda: None) -> None:
        self._check_open()
        self.calls.append(name)
        gate = self.gates.get(name)
        if gate is not None and not gate.is_set():
            self.waiting.append(name)
            try:
                await self._wait(gate, move)
            finally:
                self.waiting.remove(name)
            self._check_open()
        if self.failures[name]:
            raise self.failures[name].popleft()

    async def _wait(self, gate: asyncio.Event, move: Callable[[], None]) -> None:
        while not gate.is_set() and not self._is_closed:
            if self.progress.is_set():
                self.progress.clear()
                move()
            await asyncio.sleep(0)

    def _check_open(self) -> None:
        if self._is_closed:
            raise SaverDiedError("Saving files was ended.", retry_helps=False)

    def _end(self, name: str) -> None:
        self.after()
        if self.lost[name]:
            raise self.lost[name].popleft()

    # ── What is stored ───────────────────────────────────────────────────────

    def _newest(self, checkpoint_id: str, before: int | None) -> Saved | None:
        found = self._store.generations(checkpoint_id)
        found = [saved for saved in found if before is None or saved.generation < before]
        return found[-1] if found else None

    def _check_fence(self, checkpoint_id: str, run_number: int) -> None:
        for record in self._store.records.get(checkpoint_id, []):
            if record.saved is None or record.run_number > run_number:
                raise SupersededError(f"Checkpoint {checkpoint_id} was taken over by a later run.")
            if record.saved.final:
                raise SupersededError(f"Checkpoint {checkpoint_id} has its final generation.")

    def _inherit(self, checkpoint_id: str, run_number: int, image: str, parent: Saved) -> Saved:
        tree = self._store._of(parent).tree
        if not parent.final and not self._store.is_sealed(parent.checkpoint_id):
            raise ParentBusyError(f"Checkpoint {parent.checkpoint_id} is still written to.")
        saved = self._saved(checkpoint_id, run_number, image, tree, parent.volume + 1)
        self._store.records[checkpoint_id].append(_Record(run_number, saved, tree, tree))
        return saved

    def _saved(
        self,
        checkpoint_id: str,
        run_number: int,
        image: str,
        tree: Mapping[str, bytes],
        volume: int,
        *,
        final: bool = False,
    ) -> Saved:
        return Saved(
            checkpoint_id=checkpoint_id,
            generation=len(self._store.records[checkpoint_id]) + 1,
            run_number=run_number,
            created_at=self._clock.now(),
            image=image,
            final=final,
            entries=len(tree) + 1,
            file_bytes=sum(map(len, tree.values())),
            stored_bytes=1,
            torn=0,
            too_long=self.too_long,
            root=_root_of(tree),
            volume=volume,
        )


def told_with(store: FakeStore, checkpoint_id: str, **facts: object) -> None:
    """Have other facts told of a checkpoint's last generation."""
    records = store.records[checkpoint_id]
    last = records[-1]
    assert last.saved is not None
    saved = msgspec.structs.replace(last.saved, **facts)
    records[-1] = _Record(last.run_number, saved, last.tree, last.base)


def _tree_of(folder: Path) -> Tree:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def _root_of(tree: Mapping[str, bytes]) -> str:
    return hashlib.sha256(repr(sorted(tree.items())).encode()).hexdigest()
