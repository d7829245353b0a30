"""From sorted entries to a tree.

The nodes of each level are the entries of the one above, cut by the same rule. So there is one open
node for each level, however many entries come; the level with a single node is the root's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.tree.cutter import Cutter
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.keys import ROOT_KEY
from checkpoints.tree.node import Child, encode_child

if TYPE_CHECKING:
    from collections.abc import Iterable

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Put


class Builder:
    """A tree that grows at its end: of entries, or from a higher level up, of nodes."""

    def __init__(self, put: Put, *, level: int = 0) -> None:
        self._put = put
        self._level = level
        self._last = b""
        self._cutters: list[Cutter] = []
        self._emitted: list[int] = []
        self._latest: list[Child | None] = []
        self._lowest = self._grow()

    def add(self, key: Key, entry: Entry) -> None:
        """Add an entry. Keys ascend, beginning with the root folder's. Raises RefusedError."""
        assert key > self._last, "keys ascend"
        assert self._last or key == ROOT_KEY, "a tree has its root folder"
        self._last = key
        self._lowest.add(key, encode(key, entry), 1, entry.size_bytes)

    def add_child(self, child: Child) -> None:
        """Add a node of the level below. Keys ascend."""
        assert self._level > 0
        self._lowest.add(child.key, encode_child(child), child.entries, child.file_bytes)

    def finish(self) -> Child:
        """Return the root."""
        for index, cutter in enumerate(self._cutters):  # they may become more meanwhile
            cutter.close()
            if self._emitted[index] == 1:
                root = self._latest[index]
                assert root is not None
                return root
        raise AssertionError("a tree has its root folder")

    def _grow(self) -> Cutter:
        index = len(self._cutters)

        def emit(child: Child) -> None:
            self._emitted[index] += 1
            self._latest[index] = child
            above = self._cutters[index + 1] if index + 1 < len(self._cutters) else self._grow()
            above.add(child.key, encode_child(child), child.entries, child.file_bytes)

        cutter = Cutter(self._level + index, self._put, emit)
        self._cutters.append(cutter)
        self._emitted.append(0)
        self._latest.append(None)
        return cutter


def build(entries: Iterable[tuple[Key, Entry]], put: Put) -> Child:
    """Return the root of a tree of these entries, which ascend by key."""
    builder = Builder(put)
    for key, entry in entries:
        builder.add(key, entry)
    return builder.finish()
