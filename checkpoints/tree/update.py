"""From a tree and some changes to the next tree.

The result is, byte for byte, the tree that would be built from all entries. But only nodes that
changes fall into are read and written, and the few up to where nodes begin as before (`cutter`
says why that is soon).

Level by level, from the leaves up, a pass

- goes to the node that the next change falls into, past nodes that nothing changes;
- takes its entries over, but for the changes, through a cutter;
- goes on with the next node for as long as the cutter has an open one: where it ends has moved;
- gives to the level above what became of the nodes, which are changes of the same kind.

A node of the largest length ended because of the entry after it. So if that is what changes, the
node before it is taken as well. And where the open node has no room for an old node's first entry,
it ends, and that old node begins as before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from checkpoints.tree.builder import Builder
from checkpoints.tree.changes import Change, Edit, PointEdit, RangeEdit, edits_of
from checkpoints.tree.cursor import Cursor
from checkpoints.tree.cutter import Cutter, has_room_for_any, says_end
from checkpoints.tree.keys import ROOT_KEY, Key
from checkpoints.tree.node import Child, decode_child, encode_child

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.tree.node import Node, Put
    from checkpoints.tree.tree import Tree


def update(tree: Tree, changes: Iterable[Change], put: Put) -> Child:
    """Return the root of the tree with the changes.

    They ascend by key; of one key, removals come first. Raises RefusedError.
    """
    edits = edits_of(changes)
    nodes: list[Child] = []
    for level in range(tree.level + 1):
        level_pass = _Pass(tree, level, edits, put)
        level_pass.run()
        if level_pass.root is not None:
            assert level_pass.root.key == ROOT_KEY, "a tree has its root folder"
            return level_pass.root
        nodes = level_pass.emitted
        above = level_pass.edits_above()
        if not above:
            return tree.root
        edits = iter(above)
    builder = Builder(put, level=tree.level + 1)
    for child in nodes:
        builder.add_child(child)
    return builder.finish()


class _Pass:
    """One level's."""

    def __init__(self, tree: Tree, level: int, edits: Iterator[Edit], put: Put) -> None:
        self.emitted: list[Child] = []
        """New nodes, and old ones that came out as they were."""
        self.root: Child | None = None
        """If the level has come out as a single node, which is then the root."""
        self._tree = tree
        self._level = level
        self._edits = edits
        self._edit = next(edits, None)
        self._cutter = Cutter(level, put, self.emitted.append)
        self._cursor = Cursor(tree, level, ROOT_KEY)
        self._frontier: Key | None = ROOT_KEY  # of what isn't decided yet; None at the end
        self._gone = Key(b"")  # up to here, old entries go
        self._merged: list[Child] = []  # old nodes that are no more, unless they were emitted again
        self._all_merged = True

    def run(self) -> None:
        """Make all edits."""
        cutter = self._cutter
        while self._frontier is not None:
            if cutter.is_empty:
                key = self._next_touched()
                if key is None:
                    self._all_merged = False
                    break
                self._seek(key)
            elif self._ends_here():
                cutter.close()
                continue
            self._merge()
        if self._all_merged and not self.emitted and self._level and cutter.count == 1:
            self.root = decode_child(cutter.first_item)
            return
        cutter.close()
        if self._all_merged and len(self.emitted) == 1:
            self.root = self.emitted[0]

    def edits_above(self) -> list[Edit]:
        """Return what the pass did, as edits of the level above."""
        old = {child.key: child for child in self._merged}
        new = {child.key: child for child in self.emitted}
        edits: list[Edit] = []
        for key in sorted(old.keys() | new.keys()):
            child = new.get(key)
            if child is None:
                edits.append(PointEdit(key=key, item=None))
            elif child != old.get(key):
                item = encode_child(child)
                edits.append(
                    PointEdit(
                        key=key, item=item, entries=child.entries, file_bytes=child.file_bytes
                    )
                )
        return edits

    def _next_touched(self) -> Key | None:
        """Return the next key at which something changes."""
        assert self._frontier is not None
        if self._gone > self._frontier:
            return self._frontier
        return self._edit.key if self._edit is not None else None

    def _touches(self, key: Key) -> bool:
        """Return whether an old entry, the next after all that was decided, changes."""
        return self._gone > key or (self._edit is not None and self._edit.key == key)

    def _seek(self, key: Key) -> None:
        """Go to the node that a key falls into, or to the one that ended because of the key."""
        cursor = self._cursor
        cursor.seek(key)
        assert cursor.child is not None
        if cursor.child.key == key != self._frontier:
            cursor.back()
            if not self._was_ended_by_length(cursor.child):
                cursor.forward()

    def _was_ended_by_length(self, child: Child) -> bool:
        if has_room_for_any(self._level, child.raw_bytes):
            return False
        node = self._read(child)
        return not says_end(node, node.count - 1)

    def _ends_here(self) -> bool:
        """Return whether the open node has no room for the next old node, which nothing touches."""
        child = self._cursor.child
        assert child is not None
        if has_room_for_any(self._level, self._cutter.node_bytes) or self._touches(child.key):
            return False
        return not self._cutter.has_room(len(self._read(child).items(0, 1)))

    def _merge(self) -> None:
        """Put a node's entries and the edits that fall into it through the cutter."""
        child, upper = self._cursor.child, self._cursor.upper()
        assert child is not None
        if child.key != self._frontier:
            self._all_merged = False
        self._merged.append(child)
        if upper is not None and self._gone >= upper:
            self._replace(upper)
        else:
            node = self._read(child)
            self._cutter.begin(node, child)
            for edit in self._edits_before(upper):
                self._apply(node, edit)
            self._keep(node, node.count)
        self._cursor.forward()
        self._frontier = upper

    def _replace(self, upper: Key) -> None:
        """Take only what edits set: all of the old node goes, without having been read."""
        for edit in self._edits_before(upper):
            if isinstance(edit, RangeEdit):
                self._gone = max(self._gone, edit.stop)
            elif edit.item is not None:
                self._cutter.add(edit.key, edit.item, edit.entries, edit.file_bytes)

    def _edits_before(self, upper: Key | None) -> Iterator[Edit]:
        while (edit := self._edit) is not None and (upper is None or edit.key < upper):
            yield edit
            self._edit = next(self._edits, None)

    def _apply(self, node: Node, edit: Edit) -> None:
        number = node.find(edit.key, self._cutter.taken)
        match edit:
            case RangeEdit(stop=stop):
                self._keep(node, number)
                self._gone = max(self._gone, stop)
            case PointEdit(key=key, item=item):
                found = number < node.count and node.key(number) == key
                old = node.items(number, number + 1) if found and self._gone <= key else None
                if item == old:
                    return  # nothing changes, so the node may come out whole
                self._keep(node, number)
                if found:
                    self._cutter.drop(number + 1)
                if item is not None:
                    self._cutter.add(key, item, edit.entries, edit.file_bytes)
            case _:
                assert_never(edit)

    def _keep(self, node: Node, high: int) -> None:
        """Take the node's next entries, up to but without `high`, but for those that are gone."""
        low = self._cutter.taken
        if low < high and self._gone > node.key(low):
            self._cutter.drop(min(node.find(self._gone, low), high))
        self._cutter.keep(high)

    def _read(self, child: Child) -> Node:
        return self._tree.read(child, self._level, keep=False)
