"""Goes over the nodes of one level, from left to right, and reads only those above them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Child, Node
    from checkpoints.tree.tree import Tree


class Cursor:
    """Stands on one node of its level, or after the last."""

    def __init__(self, tree: Tree, level: int, key: Key) -> None:
        """Stand on the node in whose reach a key is: up to the first key of the next."""
        self._tree = tree
        self._level = level
        self._path: list[tuple[Node, int]] = []  # from the root to above the level; the way down
        self.child: Child | None = tree.root
        """Where it stands; None after the last."""
        self.seek(key)

    def seek(self, key: Key) -> None:
        """Go to the node in whose reach a key is."""
        self._path.clear()
        self.child = self._tree.root
        self._descend(self._tree.root_node, key)

    def _descend(self, node: Node, key: Key) -> None:
        while node.level > self._level:
            number = node.find_child(key)
            self._path.append((node, number))
            self.child = node.child(number)
            if node.level == self._level + 1:
                return
            node = self._tree.read(self.child, node.level - 1)

    def forward(self) -> None:
        """Go to the next node, or after the last."""
        self._step(1)

    def back(self) -> None:
        """Go to the node before, which there must be."""
        self._step(-1)
        assert self.child is not None

    def _step(self, by: int) -> None:
        while self._path:
            node, number = self._path.pop()
            if not 0 <= number + by < node.count:
                continue
            self._path.append((node, number + by))
            self.child = node.child(number + by)
            while node.level > self._level + 1:
                node = self._tree.read(self.child, node.level - 1)
                number = 0 if by > 0 else node.count - 1
                self._path.append((node, number))
                self.child = node.child(number)
            return
        self.child = None

    def upper(self) -> Key | None:
        """Return the first key of the next node, or None if there is none."""
        for node, number in reversed(self._path):
            if number + 1 < node.count:
                return node.key(number + 1)
        return None
