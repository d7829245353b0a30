"""Reads the leaves of a tree before they are asked for, many in one request.

Who goes over all of a tree in order needs one leaf after the other, and a bucket takes its time for
each. So while the leaves of one window are looked at, those of the next are on their way.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import StorageError
from checkpoints.tree.node import Node

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from concurrent.futures import Future

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.tree.cache import NodeCache
    from checkpoints.tree.node import Child
    from checkpoints.tree.tree import Tree

WINDOW_BYTES = 4 * 1024 * 1024
"""Raw. Some forty leaves: a request or two for each pack that they are in."""
WINDOWS_MAX = 3
"""On their way or there."""


class Ahead:
    """A tree's `fetch` that can be told what it will be asked for. For one thread."""

    def __init__(self, source: ChunkSource, cache: NodeCache) -> None:
        """Belongs to the event loop that runs."""
        self._source = source
        self._cache = cache
        self._loop = asyncio.get_running_loop()
        self._expected: Iterator[Child] = iter(())
        self._windows: list[tuple[frozenset[ChunkId], Future[dict[ChunkId, bytes]]]] = []
        self._there: dict[ChunkId, bytes] = {}

    def expect(self, leaves: Iterable[Child]) -> None:
        """Say what will be asked for, roughly in this order."""
        self._expected = iter(leaves)
        self._begin()

    def close(self) -> None:
        """Give up what is on its way."""
        for _, window in self._windows:
            window.cancel()
        self._windows.clear()
        self._there.clear()

    def fetch(self, chunk: ChunkId) -> bytes:
        """Return a node's raw bytes, as `ChunkSource.fetch` does."""
        if chunk not in self._there:
            self._arrive(chunk)
        raw = self._there.pop(chunk, None)
        if raw is None:
            return self._source.fetch(chunk)
        self._cache.put(chunk, Node(raw))  # it may be changed, and be gone over again
        return raw

    def _arrive(self, chunk: ChunkId) -> None:
        for number, (chunks, window) in enumerate(self._windows):
            if chunk in chunks:
                del self._windows[: number + 1]
                self._begin()
                try:
                    self._there = window.result()
                except (DamagedError, StorageError):
                    self._there = {}  # one by one: only those fail that are asked for
                return

    def _begin(self) -> None:
        while len(self._windows) < WINDOWS_MAX:
            chunks: list[ChunkId] = []
            window_bytes = 0
            for child in self._expected:
                if self._cache.get(child.chunk_id) is None:
                    chunks.append(child.chunk_id)
                    window_bytes += child.raw_bytes
                    if window_bytes >= WINDOW_BYTES:
                        break
            if not chunks:
                return
            window = asyncio.run_coroutine_threadsafe(self._read(chunks), self._loop)
            self._windows.append((frozenset(chunks), window))

    async def _read(self, chunks: list[ChunkId]) -> dict[ChunkId, bytes]:
        found: dict[ChunkId, bytes] = {}

        async def take(some: list[tuple[ChunkId, bytes]]) -> None:
            found.update(some)

        await self._source.read_many(chunks, take)
        return found


def leaves_of(tree: Tree) -> Iterator[Child]:
    """Yield a tree's leaves in order; only nodes above them are read."""
    if tree.level:
        yield from _below(tree, tree.root_node)


def _below(tree: Tree, node: Node) -> Iterator[Child]:
    for number in range(node.count):
        child = node.child(number)
        if node.level == 1:
            yield child
        else:
            yield from _below(tree, tree.read(child, node.level - 1))
