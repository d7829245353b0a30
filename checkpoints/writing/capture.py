"""One capture of a folder: from what changed to a tree whose chunks are on their way.

Runs in one thread, and hands files out to others. What it leaves is everything that the commit
needs: the tree's root, the closed packs, and which chunks of others were relied on.
"""

from __future__ import annotations

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from checkpoints.format.codec import encode
from checkpoints.format.ids import chunk_id
from checkpoints.format.pack import PackKind
from checkpoints.format.record import Added, TreeField
from checkpoints.tree.builder import build
from checkpoints.tree.long_lists import fitted
from checkpoints.tree.node import Node
from checkpoints.tree.update import update
from checkpoints.writing.ahead import leaves_of
from checkpoints.writing.compared import compared
from checkpoints.writing.contents import Contents
from checkpoints.writing.difference import Differences, changes, settled
from checkpoints.writing.listed import PATHS_MAX, listed
from checkpoints.writing.memory import kept
from checkpoints.writing.originals import Originals
from checkpoints.writing.overlaid import overlaid
from checkpoints.writing.pack_writer import PackWriter
from checkpoints.writing.volume import Volume

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from checkpoints.format.ids import ChunkId
    from checkpoints.format.index import PackFacts
    from checkpoints.format.parameters import Parameters
    from checkpoints.tree.cache import NodeCache
    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.node import Child
    from checkpoints.tree.tree import Tree
    from checkpoints.writing.ahead import Ahead
    from checkpoints.writing.batch import Item
    from checkpoints.writing.dedupe import Known
    from checkpoints.writing.pack_writer import ClosedPack, Uploads

THREADS_SPARE = 1
"""More threads than processors: one of them waits for a file while the others work."""
THREADS_MAX = 5
"""Each holds a batch, raw and compressed."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a write is."""

    entries: int = 0
    """That were described: all of a full write, otherwise what changed."""
    read_bytes: int = 0
    stored_bytes: int = 0
    """In packs that were handed to the store."""


@dataclass(frozen=True, slots=True)
class Source:
    """What is captured, and what it is compared with."""

    folder: Path
    before: Tree | None
    """The tree of the generation before; None writes everything."""
    base: Tree | None = None
    """What lies below the folder."""
    volume: int = 0
    """The folder's number."""
    since: datetime = EPOCH
    """When the capture of that began."""
    changed: Sequence[bytes] | None = None
    """What changed since, or None to find out."""
    ahead: Ahead | None = None
    """Reads `before`."""
    originals: Path | None = None
    """The live folder, if the folder is a snapshot."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a capture leaves."""

    tree: TreeField
    packs: tuple[ClosedPack, ...]
    added: Added
    torn: tuple[bytes, ...]
    """Paths of files that changed each time they were read."""
    too_long: int
    """Names that were looked at and left out."""


class Capture:
    """See the module."""

    def __init__(
        self,
        source: Source,
        *,
        parameters: Parameters,
        known: Known,
        nodes: NodeCache,
        uploads: Uploads,
        rng: random.Random,
        progress: Callable[[Progress], None] | None = None,
    ) -> None:
        """`progress` is called by the event loop that runs, and must be quick."""
        self._loop = asyncio.get_running_loop()
        self._source = source
        self._parameters = parameters
        self._known = known
        self._nodes = nodes
        self._uploads = uploads
        self._progress = progress
        self._data = PackWriter(PackKind.DATA, uploads.send, rng)
        self._meta = PackWriter(PackKind.TREE, uploads.send, rng)

    @property
    def packs(self) -> tuple[PackFacts, ...]:
        """All that were handed to the store by now."""
        return tuple(pack.facts for pack in (*self._data.closed, *self._meta.closed))

    async def run_in_thread(self) -> Captured:
        """Run in a thread of its own. Cancelled, it ends before this does. Raises as `run`."""
        thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-write")
        work = asyncio.wrap_future(thread.submit(self.run))
        try:
            return await asyncio.shield(work)
        finally:
            self._uploads.stop()
            while not work.done():
                await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # taken notice of
            thread.shutdown(wait=False)

    def run(self) -> Captured:
        """Return when all packs are stored. Blocks: belongs into a thread.

        Raises OSError, RefusedError, DamagedError, StorageError, StoppedError.
        """
        with kept():
            return self._run()

    def _run(self) -> Captured:
        source = self._source
        with ExitStack() as stack:
            volume = stack.enter_context(closing(Volume(source.folder, source.volume)))
            originals = None
            if source.originals is not None:
                originals = stack.enter_context(closing(Originals(source.originals)))
            processors = len(os.sched_getaffinity(0))
            threads = ThreadPoolExecutor(
                min(processors + THREADS_SPARE, THREADS_MAX), thread_name_prefix="checkpoint-read"
            )
            stack.callback(threads.shutdown, cancel_futures=True)
            if source.ahead is not None:
                stack.callback(source.ahead.close)
            contents = Contents(
                volume,
                self._parameters,
                self._known,
                self._data,
                threads,
                has_base=source.base is not None,
                originals=originals,
            )
            root = self._tree(volume, contents)
            for packs in (self._data, self._meta):
                packs.close()
            self._uploads.drain()
            self._report(contents)
        for path in contents.torn:
            _log.warning("checkpoint_file_torn", path=repr(path))
        data, meta = self._data, self._meta
        return Captured(
            tree=TreeField(
                root=root.chunk_id.hex(),
                root_bytes=root.raw_bytes,
                entries=root.entries,
                bytes=root.file_bytes,
            ),
            packs=(*data.closed, *meta.closed),
            added=Added(
                chunks=data.chunks + meta.chunks,
                raw_bytes=data.raw_bytes + meta.raw_bytes,
                stored_bytes=data.stored_bytes + meta.stored_bytes,
            ),
            torn=tuple(contents.torn),
            too_long=volume.too_long,
        )

    def _tree(self, volume: Volume, contents: Contents) -> Child:
        source = self._source
        if source.before is None:
            described = self._described(contents, overlaid(volume, source.base))
            found = settled(described, contents.vanished)
            return build(((key, entry) for key, entry in found if entry), self._put_node)
        differences = Differences(volume, source.before, source.base)
        if source.changed is None or len(source.changed) > PATHS_MAX:
            if source.ahead is not None:
                source.ahead.expect(leaves_of(source.before))
            items = compared(differences, (source.since - EPOCH) // _MICROSECOND * 1000)
        else:
            items = listed(differences, source.changed)
        described = self._described(contents, items)
        edits = changes(described, differences.removed, contents.vanished)
        return update(source.before, edits, self._put_node)

    def _described(
        self, contents: Contents, items: Iterable[Item]
    ) -> Iterator[tuple[Key, Entry | None]]:
        reported = 0
        for key, entry in contents.describe(items):
            yield key, None if entry is None else fitted(key, entry, self._put)
            if contents.entries != reported:
                reported = contents.entries
                self._report(contents)

    def _report(self, contents: Contents) -> None:
        self._uploads.check()
        stored = self._data.stored_bytes + self._meta.stored_bytes
        if self._progress is not None:
            state = Progress(contents.entries, contents.file_bytes, stored)
            self._loop.call_soon_threadsafe(self._progress, state)

    def _put_node(self, raw: bytes) -> ChunkId:
        chunk = self._put(raw)
        self._nodes.put(chunk, Node(raw))  # the next write begins with it
        return chunk

    def _put(self, raw: bytes) -> ChunkId:
        chunk = chunk_id(raw)
        if not self._known.has(chunk) and self._known.add(chunk):
            codec, data = encode(raw)
            self._meta.add(chunk, codec, data, len(raw))
        return chunk
