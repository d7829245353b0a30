"""What is left of a tree that is damaged: all that isn't below a node that can't be had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.format.damage import DamagedError
from checkpoints.reading.reach import Loss
from checkpoints.tree.keys import path_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Node
    from checkpoints.tree.tree import Tree


def survivors(tree: Tree, lost: Callable[[Loss], None]) -> Iterator[tuple[Key, Entry]]:
    """Yield a tree's entries in the order of keys; tell `lost` what is missing.

    A folder's entry may be missing although some in it are there. Raises DamagedError of the root.
    """
    root = tree.root_node
    if not root.level:
        yield from root.entries(0, root.count)
    yield from _below(tree, root, lost)


def _below(tree: Tree, node: Node, lost: Callable[[Loss], None]) -> Iterator[tuple[Key, Entry]]:
    for number in range(node.count if node.level else 0):
        child = node.child(number)
        try:
            below = tree.read(child, node.level - 1, keep=False)
            entries = () if below.level else below.entries(0, below.count)
        except DamagedError as error:
            lost(Loss(path=path_of(child.key), names=child.entries, reason=str(error)))
            continue
        yield from entries
        yield from _below(tree, below, lost)
