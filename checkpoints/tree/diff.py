"""What two trees don't have in common. Nodes that both have aren't read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.entry import Entry
from checkpoints.tree.keys import Key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.tree.node import Child, Node
    from checkpoints.tree.tree import Tree

_ENTRY_LEVEL = -1


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A key with other entries in two trees. None is no entry."""

    key: Key
    before: Entry | None
    after: Entry | None


def diff(before: Tree, after: Tree) -> Iterator[Difference]:
    """Yield all keys whose entries differ, ascending."""
    old, new = _Side(before), _Side(after)
    while old.key is not None or new.key is not None:
        if new.key is None or (old.key is not None and old.key < new.key):
            if (difference := _alone(old, is_old=True)) is not None:
                yield difference
        elif old.key is None or new.key < old.key:
            if (difference := _alone(new, is_old=False)) is not None:
                yield difference
        elif old.level != new.level:
            max(old, new, key=lambda side: side.level).expand()
        elif same := old.same(new):
            old.advance(same)
            new.advance(same)
        elif old.level == _ENTRY_LEVEL:
            yield Difference(key=old.key, before=old.entry(), after=new.entry())
            old.advance()
            new.advance()
        else:
            old.expand()
            new.expand()


def _alone(side: _Side, *, is_old: bool) -> Difference | None:
    """Go on where the other side has nothing, at least not of this key."""
    assert side.key is not None
    if side.level != _ENTRY_LEVEL:
        side.expand()
        return None
    key, entry = side.key, side.entry()
    side.advance()
    if is_old:
        return Difference(key=key, before=entry, after=None)
    return Difference(key=key, before=None, after=entry)


class _Side:
    """Stands on a node that it hasn't looked into, or on an entry."""

    def __init__(self, tree: Tree) -> None:
        self.key: Key | None = tree.root.key
        """The first; None at the end."""
        self.level = tree.level
        self._tree = tree
        self._path: list[tuple[Node, int]] = []
        self._child: Child | None = tree.root

    def same(self, other: _Side) -> int:
        """Return how many nodes, or entries, from here on are the same: not always all."""
        if self._child is not None and other._child is not None:
            return int(self._child.chunk_id == other._child.chunk_id)
        (mine, low), (others, start) = self._path[-1], other._path[-1]
        left = min(mine.count - low, others.count - start)
        same, tried = 0, 1
        while tried <= left and mine.items(low, low + tried) == others.items(start, start + tried):
            same, tried = tried, tried * 2
        return same

    def expand(self) -> None:
        """Look into the node: stand on what is first in it."""
        assert self._child is not None
        self._stand(self._tree.read(self._child, self.level, keep=False), 0)

    def advance(self, count: int = 1) -> None:
        """Go on past so many entries, or past all that is in a node."""
        while self._path:
            node, number = self._path.pop()
            if number + count < node.count:
                self._stand(node, number + count)
                return
            count = 1
        self.key = None

    def entry(self) -> Entry:
        node, number = self._path[-1]
        return node.entry(number)

    def _stand(self, node: Node, number: int) -> None:
        self._path.append((node, number))
        self.level = node.level - 1
        self._child = node.child(number) if node.level else None
        self.key = node.key(number)
