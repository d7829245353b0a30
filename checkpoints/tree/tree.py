"""Look up, list, walk. **Start here**.

A tree is its root's id and a way to read nodes. Opening one reads the root; looking something up
reads the one or two nodes on the way down, and finds them in the cache the next time. Whatever
walks reads one leaf after the other and keeps none.

Who gives `fetch` promises that bytes are those of their id. What is checked here is that they make
sense: whatever doesn't is a DamagedChunkError with the node's id, and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.tree import keys
from checkpoints.tree.cache import NodeCache
from checkpoints.tree.cursor import Cursor
from checkpoints.tree.keys import ROOT_KEY, Key, key_of
from checkpoints.tree.node import FILE_BYTES_MODULUS, Child, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.format.ids import ChunkId
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.node import Fetch
    from checkpoints.tree.stamps import Stamp


class Tree:
    """A sorted map from keys to entries. Threads may share it."""

    def __init__(self, root: ChunkId, fetch: Fetch, cache: NodeCache | None = None) -> None:
        """Reads nothing yet. Trees of one repository may share a cache."""
        self._root_id = root
        self._fetch = fetch
        self._cache = cache or NodeCache()
        self._root_node: Node | None = None
        self._root: Child | None = None

    # No `cached_property`: its lock is one for all trees, and a store may take minutes to answer.

    @property
    def root_node(self) -> Node:
        """The highest node."""
        node = self._root_node
        if node is None:
            node = self._cache.get(self._root_id) or self._parsed(self._root_id)
            if node.key(0) != ROOT_KEY:
                raise DamagedChunkError(self._root_id, "the node is no root")
            self._cache.put(self._root_id, node)
            self._root_node = node
        return node

    @property
    def root(self) -> Child:
        """How many entries and bytes there are, and in how long a node."""
        if self._root is None:
            node = self.root_node
            entries, file_bytes = node.weigh(0, node.count)
            self._root = Child(
                key=ROOT_KEY,
                chunk_id=self._root_id,
                raw_bytes=node.raw_bytes,
                entries=entries,
                file_bytes=file_bytes % FILE_BYTES_MODULUS,
            )
        return self._root

    @property
    def level(self) -> int:
        """The root's; that of leaves is 0."""
        return self.root_node.level

    def lookup(self, path: bytes) -> Entry | None:
        """Return what the tree says about a path. Raises ValueError if it can't be one."""
        return self.find(key_of(path))

    def find(self, key: Key) -> Entry | None:
        """Return the entry of a key."""
        node = self.root_node
        while node.level:
            node = self.read(node.child(node.find_child(key)), node.level - 1)
        number = node.find(key)
        if number < node.count and node.key(number) == key:
            return node.entry(number)
        return None

    def listing(self, folder: bytes, *, after: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
        """Yield names and entries directly in a folder, ascending, from after some name on."""
        start, stop = keys.folder_range(folder)
        if after:
            start = Key(folder + b"\0" + after + b"\0")
        name_at = len(folder) + 1
        for node, low, high in self._runs(start, stop):
            for key, entry in node.entries(low, high):
                yield key[name_at:], entry

    def walk(self, path: bytes = b"") -> Iterator[tuple[Key, Entry]]:
        """Yield a folder's entry and all below it, in the order of keys."""
        for start, stop in self._ranges(path):
            for node, low, high in self._runs(start, stop):
                yield from node.entries(low, high)

    def walk_keys(self, path: bytes = b"") -> Iterator[Key]:
        """Yield the keys of a folder and of all below it, ascending."""
        for start, stop in self._ranges(path):
            for node, low, high in self._runs(start, stop):
                yield from node.keys(low, high)

    def stamps(self, path: bytes = b"") -> Iterator[Stamp]:
        """Yield what tells whether a folder and what is below it are unchanged, in key order.

        Three times as fast as `walk`, because it makes no entries.
        """
        for start, stop in self._ranges(path):
            for node, low, high in self._runs(start, stop):
                yield from node.stamps(low, high)

    def nodes(self, skip: Callable[[ChunkId], bool]) -> Iterator[tuple[ChunkId, Node]]:
        """Yield all nodes, each before those below it, but what `skip` says yes to isn't read.

        Neither is what is below that: it is the same wherever the node is.
        """
        if not skip(self._root_id):
            yield self._root_id, self.root_node
            yield from self._nodes_below(self.root_node, skip)

    def _nodes_below(
        self, node: Node, skip: Callable[[ChunkId], bool]
    ) -> Iterator[tuple[ChunkId, Node]]:
        if not node.level:
            return
        for number in range(node.count):
            child = node.child(number)
            if not skip(child.chunk_id):
                below = self.read(child, node.level - 1, keep=False)
                yield child.chunk_id, below
                yield from self._nodes_below(below, skip)

    def read(self, child: Child, level: int, *, keep: bool = True) -> Node:
        """Return a node, which is what the one above it says, or raise DamagedError."""
        node = self._cache.get(child.chunk_id)
        if node is None:
            node = self._parsed(child.chunk_id)
            if keep:
                self._cache.put(child.chunk_id, node)
        if (
            node.level != level
            or node.raw_bytes != child.raw_bytes
            or node.key(0) != child.key
            or (not level and node.count != child.entries)
        ):
            raise DamagedChunkError(child.chunk_id, "the node is not what was referred to")
        return node

    def _parsed(self, chunk: ChunkId) -> Node:
        data = self._fetch(chunk)
        try:
            return Node(data)
        except DamagedError as error:
            raise DamagedChunkError(chunk, str(error)) from None

    def _ranges(self, path: bytes) -> Iterator[tuple[Key, Key]]:
        key = key_of(path)
        yield key, Key(key + b"\0")
        yield from keys.below_ranges(path)

    def _runs(self, start: Key, stop: Key) -> Iterator[tuple[Node, int, int]]:
        """Yield leaves, and from and up to which of their entries keys are in a range."""
        cursor = Cursor(self, 0, start)
        last = b""
        while (child := cursor.child) is not None and child.key < stop:
            node = self.read(child, 0, keep=False)
            if node.key(0) <= last:
                raise DamagedChunkError(child.chunk_id, "the node is out of order")
            last = node.last_key
            upper = cursor.upper()
            low = node.find(start) if child.key < start else 0
            high = node.find(stop) if upper is None or stop < upper else node.count
            if low < high:
                yield node, low, high
            cursor.forward()
