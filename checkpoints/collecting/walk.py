"""Goes through the trees of one record, from the top, and marks all that they name.

A node below which all was found isn't gone into again for a record that names the same indexes and
maybe more: whatever was found then, is found now. Where a node can't be read, nobody knows what is
below it, and all that the record's indexes have counts as needed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

from checkpoints.format.damage import DamagedError
from checkpoints.tree.long_lists import extents_of
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.collecting.interruptible import Interruptible
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.index import Index
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.tree.node import Child, Node

T = TypeVar("T")

AHEAD_BYTES_MAX = 16 * 1024 * 1024
"""Of the nodes below one, so many are asked for together: a bucket takes its time for each."""


class Marker(ABC):
    """Who is told what records need. All of it is called in the walks' thread."""

    def __init__(self, thread: Interruptible) -> None:
        self.thread = thread
        self._done: dict[ChunkId, frozenset[Place]] = {}

    @abstractmethod
    def mark_chunks(self, chunks: Sequence[ChunkId], indexes: Sequence[Index]) -> ChunkId | None:
        """Take notice of chunks that are needed; return one that is nowhere, if any is."""

    @abstractmethod
    def mark_everything(self, indexes: Sequence[Index]) -> None:
        """Take notice of all that some indexes have: a node can't be read."""

    def wait_for(self, act: Coroutine[object, object, T]) -> T:
        """Return what a coroutine returns that the event loop runs."""
        return self.thread.wait_for(act)

    def is_done(self, chunk: ChunkId, indexes: frozenset[Place]) -> bool:
        """Say whether all below a node was found before, by these indexes or some of them."""
        done = self._done.get(chunk)
        return done is not None and done <= indexes

    def done(self, chunk: ChunkId, indexes: frozenset[Place]) -> None:
        """Take notice that all below a node was found."""
        self._done[chunk] = indexes


class Walk:
    """Goes through the trees of one record. For one thread."""

    def __init__(
        self, marking: Marker, record: Record, indexes: Sequence[Index], source: ChunkSource
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
