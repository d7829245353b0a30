"""What is stored for whom: what checkpoints share, and what deleting one would free."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CheckpointId
from checkpoints.storage.failures import NotThereError
from checkpoints.tree.long_lists import extents_of
from checkpoints.tree.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.tree.node import Fetch, Node

_SHARED = -1
_SHORT_ID_BYTES = 8
"""Of an id. A collision among some millions of chunks would cost a statistic one chunk."""


class CheckpointStats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One checkpoint, with all generations that it keeps."""

    checkpoint_id: CheckpointId
    generations: int
    entries: int
    """Of the newest."""
    file_bytes: int
    """Of the newest: as much as restoring it makes."""
    own_bytes: int
    """As stored, of chunks that no other checkpoint has: deleting it frees them."""
    shared_bytes: int
    """As stored, of chunks that others have too."""
    problem: str = ""
    """Why its numbers are too small."""


class Stats(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """All of a work directory."""

    packs: int
    stored_bytes: int
    """Of all objects."""
    needed_bytes: int
    """Of chunks that any generation has."""
    checkpoints: tuple[CheckpointStats, ...]


async def measure(
    repository: Repository, *, report: Callable[[int, int], None] = lambda *_: None
) -> Stats:
    """Go through all trees. `report` is told how many records are done, and of how many.

    Raises StorageError.
    """
    packs = stored_bytes = 0
    async for listed in repository.storage.list(""):
        stored_bytes += listed.size
        packs += names.parse_pack(listed.key) is not None
    owners = _Owners()
    counted: list[tuple[CheckpointId, Sequence[Record], str]] = []
    done = 0
    checkpoints = await repository.checkpoints()
    total = sum(map(len, checkpoints.values()))
    for number, checkpoint_id in enumerate(sorted(checkpoints)):
        records = await repository.records(checkpoint_id)
        problem = str(records.damaged[0]) if records.damaged else ""
        for record in records.generations:
            found = await _marked(repository, record, owners, number)
            problem = problem or found
            done += 1
            report(done, total)
        counted.append((checkpoint_id, records.generations, problem))
    return Stats(
        packs=packs,
        stored_bytes=stored_bytes,
        needed_bytes=owners.total_bytes,
        checkpoints=tuple(
            _stats(checkpoint_id, records, owners, number, problem)
            for number, (checkpoint_id, records, problem) in enumerate(counted)
        ),
    )


async def _marked(repository: Repository, record: Record, owners: _Owners, number: int) -> str:
    """Count what a generation has; return what is wrong with it, or "". Gone is not wrong."""
    try:
        try:
            source = await repository.chunks(record)
            await asyncio.to_thread(_mark, repository, record, source, owners, number)
        except DamagedError as error:
            await repository.storage.size(names.record(record.place))
            return str(error)
    except NotThereError:
        pass  # deleted meanwhile
    return ""


class _Owners:
    """Which checkpoint a chunk belongs to, in as little memory as a dict allows."""

    def __init__(self) -> None:
        self._chunks: dict[int, int] = {}
        self._nodes: set[tuple[int, bytes]] = set()
        self.own: dict[int, int] = {}
        self.shared: dict[int, int] = {}
        self._sharers: set[tuple[int, int]] = set()
        self.total_bytes = 0

    def is_new_node(self, number: int, chunk: ChunkId) -> bool:
        """Say whether a node wasn't gone through for this checkpoint yet."""
        key = (number, chunk)
        if key in self._nodes:
            return False
        self._nodes.add(key)
        return True

    def add(self, number: int, chunk: ChunkId, source: ChunkSource) -> None:
        short = int.from_bytes(chunk[:_SHORT_ID_BYTES], "little")
        owner = self._chunks.get(short)
        if owner == number or (owner == _SHARED and (number, short) in self._sharers):
            return
        stored = source.place(chunk).stored_bytes
        if owner is None:
            self._chunks[short] = number
            self.own[number] = self.own.get(number, 0) + stored
            self.total_bytes += stored
            return
        if owner != _SHARED:
            self._chunks[short] = _SHARED
            self._sharers.add((owner, short))
            self.own[owner] -= stored
            self.shared[owner] = self.shared.get(owner, 0) + stored
        self._sharers.add((number, short))
        self.shared[number] = self.shared.get(number, 0) + stored


def _mark(
    repository: Repository, record: Record, source: ChunkSource, owners: _Owners, number: int
) -> None:
    def is_known(chunk: ChunkId) -> bool:
        return not owners.is_new_node(number, chunk)

    for field in (record.tree, record.base):
        if field is None:
            continue
        tree = Tree(field.root_id, source.fetch, repository.nodes)
        for chunk, tree_node in tree.nodes(is_known):
            owners.add(number, chunk, source)
            if not tree_node.level:
                for each in _content(tree_node, source.fetch):
                    owners.add(number, each, source)


def _content(leaf: Node, fetch: Fetch) -> Iterator[ChunkId]:
    needed = leaf.chunks()
    yield from needed.chunk_ids
    for content in needed.long_lists:
        for extent in extents_of(content, fetch):
            if extent.chunk_id is not None:
                yield extent.chunk_id


def _stats(
    checkpoint_id: CheckpointId,
    records: Sequence[Record],
    owners: _Owners,
    number: int,
    problem: str,
) -> CheckpointStats:
    tree = records[0].tree if records else None
    return CheckpointStats(
        checkpoint_id=checkpoint_id,
        generations=len(records),
        entries=tree.entries if tree else 0,
        file_bytes=tree.bytes if tree else 0,
        own_bytes=owners.own.get(number, 0),
        shared_bytes=owners.shared.get(number, 0),
        problem=problem,
    )
