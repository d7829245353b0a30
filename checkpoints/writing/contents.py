"""Turns what was seen into entries, reading files with several threads, in the order it was seen.

    items ─ batches of small files, chunks of large files ─ threads: read, hash, compress ─ entries

One thread (the caller's) goes through the items, hands out work, and takes results back in the same
order: it alone fills packs, so chunks lie in them by path. At most `IN_FLIGHT_BYTES_MAX` are read
and not yet taken back.
"""

from __future__ import annotations

import os
import resource
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import msgspec

from checkpoints.tree.entry import Entry, Kind, inode_of, volume_of
from checkpoints.tree.extents import Extent
from checkpoints.tree.keys import path_of
from checkpoints.writing.batch import (
    LARGE_FILE_BYTES,
    TRIES_MAX,
    Batch,
    Describer,
    Item,
    Stored,
    content_of,
    is_same,
)
from checkpoints.writing.chunking import cut, stretches
from checkpoints.writing.originals import beside, reading
from checkpoints.writing.scan import Seen, described
from checkpoints.writing.volume import GONE, attributes_of_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.format.parameters import Parameters
    from checkpoints.tree.keys import Key
    from checkpoints.writing.chunking import Read
    from checkpoints.writing.dedupe import Known
    from checkpoints.writing.originals import Originals
    from checkpoints.writing.pack_writer import PackWriter
    from checkpoints.writing.volume import Volume

T = TypeVar("T")

BATCH_BYTES = 2 * 1024 * 1024
BATCH_ITEMS = 256
"""Work for some milliseconds: enough that handing it out costs nothing beside it."""
SMALL_BYTES = 8 * 1024
"""A batch of smaller files, on average, is not handed out: nearly all of its work needs Python's
lock, and threads that wait for it at every call to the kernel cost twice the time."""
SLOW_BATCHES = 32
"""But where files come from a disk and not from memory, as in a snapshot of which the kernel knows
nothing yet, a batch takes many times what its work does. Then so many are handed out, to be read at
the same time, before one is tried again."""
FROM_DISK_PART = 4
"""One part in so many of a batch's bytes tells that."""
BLOCK_BYTES = 512  # of those that the kernel counts
IN_FLIGHT_BYTES_MAX = 24 * 1024 * 1024
"""Of raw bytes; compressed ones come to as much at worst."""


@dataclass
class _LargeFile:
    key: Key
    extents: list[Extent] = field(default_factory=list)
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk of a large file, in work."""

    file: _LargeFile
    work: Future[tuple[Extent, Stored | None]]


class Contents:
    """Describes and reads what is in a volume. Belongs to one thread."""

    def __init__(
        self,
        volume: Volume,
        parameters: Parameters,
        known: Known,
        packs: PackWriter,
        threads: ThreadPoolExecutor,
        *,
        has_base: bool = False,
        originals: Originals | None = None,
    ) -> None:
        self.vanished: set[Key] = set()
        """What was gone when it was looked into: it has an entry only if it may hide something."""
        self.torn: list[bytes] = []
        """Files that changed each time they were read: their content is of no single instant."""
        self.file_bytes = 0
        """So much was read."""
        self.entries = 0
        self._volume = volume
        self._number = volume.number
        self._parameters = parameters
        self._originals = originals
        self._describer = Describer(
            volume, parameters, known, has_base=has_base, originals=originals
        )
        self._packs = packs
        self._threads = threads
        self._waiting: deque[tuple[int, Future[Batch] | _Piece | _LargeFile]] = deque()
        self._in_flight_bytes = 0
        self._slow_batches = 0
        self._links: dict[int, Entry] = {}

    def describe(self, items: Iterable[Item]) -> Iterator[tuple[Key, Entry | None]]:
        """Yield the entry of each item, in order. Raises OSError, RefusedError."""
        batch: list[Item] = []
        batch_bytes = 0
        for key, item in items:
            size = 0
            if isinstance(item, Seen) and stat.S_ISREG(item.status.st_mode):
                item = self._links.get(inode_of(self._number, item.status.st_ino), item)
                size = item.status.st_size if isinstance(item, Seen) else 0
            if isinstance(item, Seen) and size > LARGE_FILE_BYTES:
                self._hand_out(batch, batch_bytes)
                batch, batch_bytes = [], 0
                for _ in self._read_large(key, item):
                    yield from self._taken(IN_FLIGHT_BYTES_MAX)
                continue
            batch.append((key, item))
            batch_bytes += size
            if batch_bytes >= BATCH_BYTES or len(batch) >= BATCH_ITEMS:
                self._hand_out(batch, batch_bytes)
                batch, batch_bytes = [], 0
                yield from self._taken(IN_FLIGHT_BYTES_MAX)
        self._hand_out(batch, batch_bytes)
        yield from self._taken(0)

    def _hand_out(self, batch: list[Item], batch_bytes: int) -> None:
        if batch:
            weight = batch_bytes + len(batch) * 1024  # objects weigh, too
            self._in_flight_bytes += weight
            is_small = batch_bytes <= len(batch) * SMALL_BYTES
            work = self._done_here(batch) if is_small else self._done_elsewhere(batch)
            self._waiting.append((weight, work))

    def _done_here(self, batch: list[Item]) -> Future[Batch]:
        if self._slow_batches:
            self._slow_batches -= 1
            return self._done_elsewhere(batch)
        before = _blocks_from_disk()
        result = self._describer.work(batch)
        if (_blocks_from_disk() - before) * BLOCK_BYTES > result.file_bytes // FROM_DISK_PART:
            self._slow_batches = SLOW_BATCHES
        return _done(result)

    def _done_elsewhere(self, batch: list[Item]) -> Future[Batch]:
        work = self._describer.work_from_disk if self._slow_batches else self._describer.work
        return self._threads.submit(work, batch)

    def _taken(self, bytes_max: int) -> Iterator[tuple[Key, Entry | None]]:
        """Take results back, oldest first, until no more than so much is in flight."""
        while self._waiting and (self._in_flight_bytes > bytes_max or not bytes_max):
            weight, slot = self._waiting.popleft()
            if isinstance(slot, Future):
                yield from self._take_batch(slot.result())
            elif isinstance(slot, _Piece):
                extent, stored = slot.work.result()
                slot.file.extents.append(extent)
                if stored is not None:
                    self._store(stored)
            else:
                yield slot.key, self._finished(slot)
            self._in_flight_bytes -= weight

    def _take_batch(self, batch: Batch) -> Iterator[tuple[Key, Entry | None]]:
        for stored in batch.chunks:
            self._store(stored)
        self.file_bytes += batch.file_bytes
        self.entries += len(batch.entries)
        self.torn += batch.torn
        self.vanished.update(batch.vanished)
        for key, entry in batch.entries:
            if entry is not None and entry.several_names and self._is_link(entry):
                self._links[entry.inode] = entry
            yield key, entry

    def _is_link(self, entry: Entry) -> bool:
        """Return whether further names of this file may be seen."""
        return entry.kind is Kind.FILE and volume_of(entry.inode) == self._number

    def _store(self, stored: Stored) -> None:
        self._packs.add(stored.chunk, stored.codec, stored.data, stored.raw_bytes)

    # ── Large files ──────────────────────────────────────────────────────────

    def _read_large(self, key: Key, seen: Seen) -> Iterator[None]:
        """Hand out a file's chunks as they are read; yield after each."""
        folder, _, name = key.partition(b"\0")
        file = _LargeFile(key)
        for _ in range(TRIES_MAX):
            file = _LargeFile(key)  # the one before is left unfinished
            try:
                with self._volume.folder(folder) as folder_fd:
                    fd = open_file(name, folder_fd)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                break
            try:
                before = os.fstat(fd)
                if not stat.S_ISREG(before.st_mode):
                    break
                attributes = attributes_of_file(fd, key)
                with (
                    beside(self._originals, folder) as live_fd,
                    reading(self._originals, name, live_fd, fd, before) as read,
                ):
                    yield from self._read_pieces(fd, read, before, file)
                file.entry = described(Kind.FILE, before, attributes, None, self._number)
                if is_same(before, os.fstat(fd)):
                    break
            finally:
                os.close(fd)
        else:
            self.torn.append(path_of(key))
        self._waiting.append((0, file))
        yield

    def _read_pieces(
        self, fd: int, read: Read, status: os.stat_result, file: _LargeFile
    ) -> Iterator[None]:
        for start, length, has_data in stretches(fd, status.st_size, status.st_blocks):
            if not has_data:
                self._waiting.append((0, _Piece(file, _done((Extent(None, length), None)))))
                continue
            for raw in cut(read, start, length, self._parameters):
                self._in_flight_bytes += len(raw)
                work = self._threads.submit(self._describer.encoded, raw)
                self._waiting.append((len(raw), _Piece(file, work)))
                self.file_bytes += len(raw)
                yield

    def _finished(self, file: _LargeFile) -> Entry | None:
        self.entries += 1
        if file.entry is None:
            self.vanished.add(file.key)
            return self._describer.in_its_place
        entry = msgspec.structs.replace(file.entry, content=content_of(file.extents))
        if entry.several_names:
            self._links[entry.inode] = entry
        return entry


def _blocks_from_disk() -> int:
    """Return how much this thread has had read from disks so far."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_inblock


def _done(result: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(result)
    return future
