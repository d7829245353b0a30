"""What a generation reaches: its nodes and chunks, and which of its paths can't be had.

A tree is gone through from the top. What is damaged costs what is below it, and nothing else is
given up. A node below which everything is well isn't looked into again for another tree, if that
one's record names the same indexes and maybe more: with others, a chunk may not be found.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from checkpoints.format.damage import DamagedChunkError, DamagedError
from checkpoints.format.ids import ChunkId
from checkpoints.tree.entry import Extents, IndirectExtents, Kind
from checkpoints.tree.keys import Key, path_of
from checkpoints.tree.long_lists import extents_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from checkpoints.format.names import Place
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.node import Child, Fetch, Node
    from checkpoints.tree.tree import Tree


class Loss(msgspec.Struct, frozen=True, kw_only=True):
    """What damage costs a generation."""

    path: bytes
    """A file whose content can't be had; or where the names begin that are lost."""
    names: int = 0
    """How many names are lost with a node, from `path` on; 0 if only content is."""
    reason: str
    chunk_id: ChunkId | None = None
    """The chunk, if it is what was written, but makes no sense."""
    of_base: bool = False
    """Whether only what was restored below the volume has it so: a run that goes on needs that."""


class Reach:
    """Goes through trees of one repository. For one thread; blocks."""

    def __init__(self) -> None:
        self._sound: dict[ChunkId, frozenset[Place]] = {}
        """Nodes that were found to be well, with all that is below them; by which indexes."""
        self._indexes: frozenset[Place] = frozenset()

    def losses(
        self,
        tree: Tree,
        entries: int,
        fetch: Fetch,
        check: Callable[[ChunkId], None],
        indexes: frozenset[Place],
    ) -> Iterator[Loss]:
        """Yield what can't be had; `check` raises DamagedError of a chunk of content.

        `entries` is how many names the tree has, as the record says.
        """
        self._indexes = indexes
        try:
            root, root_node = tree.root, tree.root_node
        except DamagedError as error:
            yield Loss(path=b"", names=entries, **_why(error))
            return
        if self._is_sound(root.chunk_id):
            return
        yield from self._below(tree, root, root_node, fetch, check)

    def _below(
        self,
        tree: Tree,
        child: Child,
        node: Node,
        fetch: Fetch,
        check: Callable[[ChunkId], None],
    ) -> Iterator[Loss]:
        is_sound = True
        if node.level:
            found = self._children(tree, node, fetch, check)
        else:
            found = _leaf(tree, node, fetch, check)
        for loss in found:
            is_sound = False
            yield loss
        if is_sound:
            self._sound[child.chunk_id] = self._indexes

    def _is_sound(self, chunk: ChunkId) -> bool:
        found = self._sound.get(chunk)
        return found is not None and found <= self._indexes

    def _children(
        self, tree: Tree, node: Node, fetch: Fetch, check: Callable[[ChunkId], None]
    ) -> Iterator[Loss]:
        for number in range(node.count):
            child = node.child(number)
            after = node.key(number + 1) if number + 1 < node.count else None
            if after is not None and after <= child.key:
                yield Loss(
                    path=path_of(child.key), names=child.entries, reason="a node is out of order"
                )
                continue
            if self._is_sound(child.chunk_id):
                continue
            try:
                below = tree.read(child, node.level - 1, keep=False)
                if after is not None and below.last_key >= after:
                    raise DamagedChunkError(child.chunk_id, "reaches beyond the next node")
            except DamagedError as error:
                yield Loss(path=path_of(child.key), names=child.entries, **_why(error))
                continue
            yield from self._below(tree, child, below, fetch, check)


def _leaf(tree: Tree, node: Node, fetch: Fetch, check: Callable[[ChunkId], None]) -> Iterator[Loss]:
    try:
        entries = node.entries(0, node.count)
    except DamagedError as error:
        yield Loss(path=path_of(Key(node.key(0))), names=node.count, **_why(error))
        return
    yield from _nowhere(tree, entries)
    for key, entry in entries:
        try:
            for chunk in chunks_of(entry, fetch):
                check(chunk)
        except DamagedError as error:
            yield Loss(path=path_of(key), **_why(error))


def _nowhere(tree: Tree, entries: Sequence[tuple[Key, Entry]]) -> Iterator[Loss]:
    """Yield names below something that is no folder: no store does that, and nobody restores it."""
    folders = Counter(key.partition(b"\0")[0] for key, _ in entries)
    for folder, count in folders.items():
        try:
            above = tree.lookup(folder)
        except DamagedError:
            continue  # told where it is come across
        if above is None or above.kind is not Kind.FOLDER:
            yield Loss(path=folder, names=count, reason="has names in it, but is no folder")


def _why(error: DamagedError) -> dict[str, Any]:
    chunk = error.chunk_id if isinstance(error, DamagedChunkError) else None
    return {"reason": str(error), "chunk_id": chunk}


def chunks_of(entry: Entry, fetch: Fetch) -> Iterator[ChunkId]:
    """Yield the chunks of a file's content, and those that list them. Raises DamagedError."""
    content = entry.content
    if isinstance(content, IndirectExtents):
        yield from (each.chunk_id for each in content.references if each.chunk_id is not None)
    if isinstance(content, (Extents, IndirectExtents)):
        for extent in extents_of(content, fetch):
            if extent.chunk_id is not None:
                yield extent.chunk_id
