"""Whether a generation can be read back: all of its tree, and of what it was restored over."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import msgspec

from checkpoints.format import names
from checkpoints.format.damage import DamagedObjectError
from checkpoints.reading.reach import Loss
from checkpoints.storage.failures import NotThereError
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record, TreeField
    from checkpoints.reading.known_packs import KnownPacks
    from checkpoints.reading.reach import Reach
    from checkpoints.repository import Repository

LOSSES_MAX = 1000
"""Named of one generation; the others are counted."""


T = TypeVar("T")


class _StoppedError(Exception):
    """Nobody waits for the thread any more."""


class RecordCheck:
    """Looks at one record, twice if something seems to be lost: others work here meanwhile."""

    def __init__(
        self,
        repository: Repository,
        place: Place,
        reach: Reach,
        packs: KnownPacks,
    ) -> None:
        self._repository = repository
        self._place = place
        self._reach = reach
        self._packs = packs
        self._stopped = False
        self.damages: dict[str, str] = {}
        """What is wrong, by object."""
        self.named: list[Loss] = []
        self.count = 0
        self.is_generation = False

    async def run(self) -> None:
        try:
            for _ in range(2):
                self.damages, self.named, self.count = {}, [], 0
                await self._look()
                if not self.damages and not self.count:
                    return
            # What a record needs may go when it has gone.
            await self._repository.storage.size(names.record(self._place))
        except NotThereError:  # deleted since it was listed
            self.damages, self.named, self.count = {}, [], 0

    async def _look(self) -> None:
        try:
            record = await self._repository.record(self._place)
        except DamagedObjectError as error:
            self.damages[error.key] = error.problem
            return
        if record.tree is None:
            return
        self.is_generation = True
        try:
            source = await self._repository.chunks(record)
        except DamagedObjectError as error:
            self.damages[error.key] = error.problem
            self._lose(Loss(path=b"", names=record.tree.entries, reason=str(error)))
            return
        try:
            await asyncio.to_thread(self._read, record, source)
        finally:
            self._stopped = True

    def _lose(self, loss: Loss) -> None:
        self.count += 1
        if len(self.named) < LOSSES_MAX:
            self.named.append(loss)

    # ── In a thread ──────────────────────────────────────────────────────────

    def _read(self, record: Record, source: ChunkSource) -> None:
        self._stopped = False
        assert record.tree is not None
        self._read_tree(record, record.tree, source, of_base=False)
        if record.base is not None and record.base.root != record.tree.root:
            self._read_tree(record, record.base, source, of_base=True)

    def _read_tree(
        self,
        record: Record,
        field: TreeField,
        source: ChunkSource,
        *,
        of_base: bool,
    ) -> None:
        lost = {loss.path for loss in self.named}

        def fetch(chunk: ChunkId) -> bytes:
            return self._noted(lambda: self._fetch(record, source, chunk))

        def check(chunk: ChunkId) -> None:
            self._noted(lambda: self._check(record, source, chunk))

        tree = Tree(field.root_id, fetch)  # with no cache that knows nodes from before
        indexes = frozenset(each.place for each in record.indexes)
        is_whole = True
        for loss in self._reach.losses(tree, field.entries, fetch, check, indexes):
            is_whole = False
            if loss.chunk_id is not None:
                pack = source.place(loss.chunk_id).pack
                self.damages.setdefault(names.pack(pack.kind, pack.pack_id), loss.reason)
            if not of_base:
                self._lose(loss)
            elif loss.path not in lost:
                self._lose(msgspec.structs.replace(loss, of_base=True))
        if is_whole and _sums(tree) != (field.root_bytes, field.entries, field.bytes):
            self.damages[names.record(record.place)] = "has other sums than its trees"

    def _noted(self, act: Callable[[], T]) -> T:
        if self._stopped:
            raise _StoppedError
        try:
            return act()
        except DamagedObjectError as error:
            self.damages.setdefault(error.key, error.problem)
            raise

    def _fetch(self, record: Record, source: ChunkSource, chunk: ChunkId) -> bytes:
        if next(source.places(chunk), None) is None:
            raise self._unknown(record, chunk)
        return source.fetch(chunk)

    def _check(self, record: Record, source: ChunkSource, chunk: ChunkId) -> None:
        """Raise DamagedError unless a chunk is in one of the places where it may be."""
        first: DamagedObjectError | None = None
        for place in source.places(chunk):
            problem = self._packs.why_not(chunk, place)
            if problem is None:
                return
            first = first or problem
        raise first or self._unknown(record, chunk)

    def _unknown(self, record: Record, chunk: ChunkId) -> DamagedObjectError:
        """Say what is wrong if no index has a chunk: the only one there is, or their list."""
        if len(record.indexes) == 1:
            key = names.index(record.indexes[0].place)
            return DamagedObjectError(key, f"doesn't have chunk {chunk.hex()}, which is needed")
        return DamagedObjectError(
            names.record(record.place), f"names no index that has chunk {chunk.hex()}"
        )


def _sums(tree: Tree) -> tuple[int, int, int]:
    root = tree.root
    return root.raw_bytes, root.entries, root.file_bytes
