"""Which chunks any generation needs, each where a reader would look for it first.

    records, oldest first ─ tree and base ─ nodes from the top ─ entries ─ chunks ─ `Marks`

A node below which all was found isn't gone into again for a record that names the same indexes and
maybe more: whatever was found then, is found now. Where a node can't be read, nobody knows what is
below it, and all that the record's indexes have counts as needed.

Walks in a thread of its own, and keeps eight bytes a chunk, some hundred a node, and the indexes of
one record beside those that were moved.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from checkpoints.chunk_source import ChunkSource
from checkpoints.collecting.marks import Marks
from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import NotThereError
from checkpoints.tree.long_lists import extents_of
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from checkpoints.collecting.interruptible import Interruptible
    from checkpoints.collecting.listing import ListedPack
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import ChunkPlace, Index, PackFacts
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.tree.node import Child, Node

T = TypeVar("T")

AHEAD_BYTES_MAX = 16 * 1024 * 1024
"""Of the nodes below one, so many are asked for together: a bucket takes its time for each."""


class Marking:
    """Marks what records need. One record at a time."""

    def __init__(
        self,
        repository: Repository,
        packs: Mapping[PackId, ListedPack] | None,
        moved: Mapping[str, Index],
        thread: Interruptible,
    ) -> None:
        """`packs` are those that are there, `moved` the moved indexes by name, latest first.

        Without `packs` nobody is asked what is there: each place where a chunk may be counts.
        """
        self.marks = Marks()
        self.needed_indexes: set[str] = set()
        """Names of indexes that a record names, or through which a chunk was found."""
        self._repository = repository
        self._packs = packs
        self._unlisted: dict[PackId, int] = {}
        self._moved = moved
        self._thread = thread
        self._done: dict[ChunkId, frozenset[Place]] = {}

    async def mark(self, record: Record) -> str:
        """Mark all that a record needs; return what is wrong with it, or "".

        Raises NotThereError if it is gone by now, DamagedObjectError if an index can't be read.
        """
        indexes = await self._repository.indexes(record)
        self.needed_indexes |= {names.index(place) for place in indexes}
        moved = tuple(self._moved.values())
        source = ChunkSource(
            self._repository.storage, tuple(indexes.values()), self._repository.moved, moved
        )
        walk = _Walk(self, record, tuple(indexes.values()), source)
        await self._thread.run(walk.run)
        if walk.problem:
            await self._repository.storage.size(names.record(record.place))  # or it is gone
        return walk.problem

    # ── In the thread ────────────────────────────────────────────────────────

    def mark_chunks(self, chunks: Sequence[ChunkId], indexes: Sequence[Index]) -> ChunkId | None:
        """Mark chunks where a reader looks for them first; return one that is nowhere, if any is.

        Comes by every chunk of every generation, so it calls as little as it can.
        """
        places = [*self._moved.items(), *(("", index) for index in indexes)]
        add, is_there, is_enough = self.marks.add, self._is_there, self._packs is not None
        lost = None
        for chunk in chunks:
            is_found = False
            for key, index in places:
                place = index.find(chunk)
                if place is None or not is_there(place):
                    continue
                add(place)
                is_found = True
                if key:
                    self.needed_indexes.add(key)
                if is_enough:
                    break
            if not is_found:
                lost = lost or chunk
        return lost

    def mark_everything(self, indexes: Sequence[Index]) -> None:
        """Mark all chunks of some indexes, wherever they are."""
        for chunk, place in chain.from_iterable(index.items() for index in indexes):
            if self._is_there(place):
                self.marks.add(place)
            for key, index in self._moved.items():
                moved = index.find(chunk)
                if moved is not None and self._is_there(moved):
                    self.needed_indexes.add(key)
                    self.marks.add(moved)

    def _is_there(self, place: ChunkPlace) -> bool:
        """Say whether a pack is there. One that wasn't listed may be younger than the listing."""
        pack = place.pack
        if self._packs is None:
            return True
        listed = self._packs.get(pack.pack_id)
        if listed is not None:
            return listed.object_bytes == pack.object_bytes and listed.kind is pack.kind
        if pack.pack_id not in self._unlisted:
            self._unlisted[pack.pack_id] = self.wait_for(self._size(pack))
        return self._unlisted[pack.pack_id] == pack.object_bytes

    async def _size(self, pack: PackFacts) -> int:
        try:
            return await self._repository.storage.size(names.pack(pack.kind, pack.pack_id))
        except NotThereError:
            return -1

    def wait_for(self, act: Coroutine[object, object, T]) -> T:
        return self._thread.wait_for(act)

    def is_done(self, chunk: ChunkId, indexes: frozenset[Place]) -> bool:
        done = self._done.get(chunk)
        return done is not None and done <= indexes

    def done(self, chunk: ChunkId, indexes: frozenset[Place]) -> None:
        self._done[chunk] = indexes


class _Walk:
    """Goes through the trees of one record. For one thread."""

    def __init__(
        self, marking: Marking, record: Record, indexes: Sequence[Index], source: ChunkSource
    ) -> None:
        self.problem = ""
        self._marking = marking
        self._record = record
        self._indexes = indexes
        self._places = frozenset(field.place for field in record.indexes)
        self._source = source
        self._ahead: dict[ChunkId, bytes] = {}

    def run(self) -> None:
        is_whole = True
        for field in (self._record.tree, self._record.base):
            if field is None or self._marking.is_done(field.root_id, self._places):
                continue
            tree = Tree(field.root_id, self._fetch)  # with no cache that knows nodes from before
            self._mark([field.root_id])
            try:
                node = tree.root_node
            except DamagedError as error:
                self._wrong(str(error))
                is_whole = False
                continue
            is_whole &= self._below(tree, field.root_id, node)
        if not is_whole:
            self._marking.mark_everything(self._indexes)

    def _below(self, tree: Tree, chunk: ChunkId, node: Node) -> bool:
        """Mark all below a node; False if some node of that can't be read."""
        found = self.problem
        self.problem = ""
        is_whole = self._children(tree, node) if node.level else self._leaf(node)
        if not self.problem:
            self._marking.done(chunk, self._places)
        self.problem = found or self.problem
        return is_whole

    def _children(self, tree: Tree, node: Node) -> bool:
        is_whole = True
        for batch in self._batches(node):
            self._read_ahead(batch)
            for child in batch:
                self._mark([child.chunk_id])
                try:
                    below = tree.read(child, node.level - 1, keep=False)
                except DamagedError as error:
                    self._wrong(str(error))
                    is_whole = False
                    continue
                is_whole &= self._below(tree, child.chunk_id, below)
            for child in batch:
                self._ahead.pop(child.chunk_id, None)
        return is_whole

    def _batches(self, node: Node) -> Iterator[list[Child]]:
        batch: list[Child] = []
        batch_bytes = 0
        for number in range(node.count):
            child = node.child(number)
            if self._marking.is_done(child.chunk_id, self._places):
                continue
            batch.append(child)
            batch_bytes += child.raw_bytes
            if batch_bytes >= AHEAD_BYTES_MAX:
                yield batch
                batch, batch_bytes = [], 0
        if batch:
            yield batch

    def _leaf(self, node: Node) -> bool:
        try:
            found = node.chunks()
            self._mark(found.chunk_ids)
            for content in found.long_lists:
                extents = extents_of(content, self._fetch)
                self._mark([each.chunk_id for each in extents if each.chunk_id is not None])
        except DamagedError as error:
            self._wrong(str(error))
            return False
        return True

    def _mark(self, chunks: Sequence[ChunkId]) -> None:
        lost = self._marking.mark_chunks(chunks, self._indexes)
        if lost is not None:
            self._wrong(f"chunk {lost.hex()} is nowhere")

    def _wrong(self, problem: str) -> None:
        self.problem = self.problem or problem

    def _fetch(self, chunk: ChunkId) -> bytes:
        data = self._ahead.pop(chunk, None)
        return data if data is not None else self._marking.wait_for(self._source.read(chunk))

    def _read_ahead(self, children: Sequence[Child]) -> None:
        async def take(chunks: list[tuple[ChunkId, bytes]]) -> None:
            self._ahead.update(chunks)

        try:
            self._marking.wait_for(
                self._source.read_many([child.chunk_id for child in children], take)
            )
        except DamagedError:
            return  # each is read by itself then, and named
