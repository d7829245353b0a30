"""Turns what was seen into entries, reading files with several threads, in the order it was seen.

    items ─ batches of small files, chunks of large files ─ threads: read, hash, compress ─ entries

One thread (the caller's) goes through the items, hands out work, and takes results back in the same
order: it alone fills packs, so chunks lie in them by path. At most `IN_FLIGHT_BYTES_MAX` are read
and not yet taken back.
"""

from __future__ import annotations

import os
import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.codec import Codec, encode
from checkpoints.format.ids import ChunkId, chunk_id
from checkpoints.tree.entry import INLINE_BYTES_MAX, Entry, Extents, Inline, Kind
from checkpoints.tree.extents import Extent
from checkpoints.tree.keys import path_of
from checkpoints.writing.chunking import cut, read_fully, stretches
from checkpoints.writing.scan import Seen, described, entry_of
from checkpoints.writing.volume import GONE, attributes_of_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.format.parameters import Parameters
    from checkpoints.tree.keys import Key
    from checkpoints.writing.dedupe import Known
    from checkpoints.writing.pack_writer import PackWriter
    from checkpoints.writing.volume import Volume

BATCH_BYTES = 2 * 1024 * 1024
BATCH_ITEMS = 256
"""Work for some milliseconds: enough that handing it out costs nothing beside it."""
LARGE_FILE_BYTES = 4 * 1024 * 1024
"""Longer ones are read by the caller, and their chunks handed out one by one."""
IN_FLIGHT_BYTES_MAX = 24 * 1024 * 1024
"""Of raw bytes; compressed ones come to as much at worst."""
TRIES_MAX = 3
"""So often a file is read that changes meanwhile. On a snapshot, none does."""

Item = tuple["Key", "Entry | Seen | None"]
"""An entry that is known, or what was seen and has to be described; None of what is gone."""


class _Stored(msgspec.Struct, frozen=True, gc=False):
    """A chunk to be put into a pack."""

    chunk: ChunkId
    codec: Codec
    data: bytes
    raw_bytes: int


@dataclass
class _Batch:
    """What a thread made of some items."""

    entries: list[tuple[Key, Entry | None]] = field(default_factory=list)
    chunks: list[_Stored] = field(default_factory=list)
    file_bytes: int = 0
    torn: list[bytes] = field(default_factory=list)


@dataclass
class _LargeFile:
    key: Key
    seen: Seen
    extents: list[Extent] = field(default_factory=list)
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class _Piece:
    """A chunk of a large file, in work."""

    file: _LargeFile
    work: Future[tuple[Extent, _Stored | None]]


class Contents:
    """Describes and reads what is in a volume. Belongs to one thread."""

    def __init__(
        self,
        volume: Volume,
        parameters: Parameters,
        known: Known,
        packs: PackWriter,
        threads: ThreadPoolExecutor,
    ) -> None:
        self.torn: list[bytes] = []
        """Files that changed each time they were read: their content is of no single instant."""
        self.file_bytes = 0
        """So much was read."""
        self.entries = 0
        self._volume = volume
        self._parameters = parameters
        self._known = known
        self._packs = packs
        self._threads = threads
        self._waiting: deque[tuple[int, Future[_Batch] | _Piece | _LargeFile]] = deque()
        self._in_flight_bytes = 0
        self._links: dict[int, Entry] = {}

    def describe(self, items: Iterable[Item]) -> Iterator[tuple[Key, Entry | None]]:
        """Yield the entry of each item, in order. Raises OSError, RefusedError."""
        batch: list[Item] = []
        batch_bytes = 0
        for key, item in items:
            size = 0
            if isinstance(item, Seen) and stat.S_ISREG(item.status.st_mode):
                item = self._links.get(item.status.st_ino, item)
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
            self._waiting.append((weight, self._threads.submit(self._work, batch)))

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

    def _take_batch(self, batch: _Batch) -> Iterator[tuple[Key, Entry | None]]:
        for stored in batch.chunks:
            self._store(stored)
        self.file_bytes += batch.file_bytes
        self.entries += len(batch.entries)
        self.torn += batch.torn
        for key, entry in batch.entries:
            if entry is not None and entry.several_names and entry.kind is Kind.FILE:
                self._links[entry.inode] = entry
            yield key, entry

    def _store(self, stored: _Stored) -> None:
        self._packs.add(stored.chunk, stored.codec, stored.data, stored.raw_bytes)

    # ── In threads ───────────────────────────────────────────────────────────

    def _work(self, items: list[Item]) -> _Batch:
        batch = _Batch()
        at = 0
        while at < len(items):
            folder = items[at][0].partition(b"\0")[0]
            end = at + 1
            prefix = folder + b"\0"
            while end < len(items) and items[end][0].startswith(prefix):
                end += 1
            self._work_in_folder(folder, items[at:end], batch)
            at = end
        return batch

    def _work_in_folder(self, folder: bytes, items: list[Item], batch: _Batch) -> None:
        """Describe what lies in one folder, which is opened once."""
        is_needed = any(isinstance(item, Seen) for _, item in items)
        if not is_needed:
            batch.entries += items  # type: ignore[arg-type]  # nothing of them is a Seen
            return
        try:
            with self._volume.folder(folder) as fd:
                for key, item in items:
                    if isinstance(item, Seen):
                        batch.entries.append((key, self._described(item, fd, batch)))
                    else:
                        batch.entries.append((key, item))
        except OSError as error:
            if error.errno not in GONE:
                raise
            done = {key for key, _ in batch.entries}
            batch.entries += [(key, None) for key, _ in items if key not in done]

    def _described(self, seen: Seen, folder_fd: int, batch: _Batch) -> Entry | None:
        if not stat.S_ISREG(seen.status.st_mode):
            return entry_of(seen, folder_fd)
        name = seen.key.partition(b"\0")[2]
        entry: Entry | None = None
        for _ in range(TRIES_MAX):
            try:
                fd = open_file(name, folder_fd)
            except OSError as error:
                if error.errno not in GONE:
                    raise
                return None
            try:
                before = os.fstat(fd)
                if not stat.S_ISREG(before.st_mode):
                    return None
                entry = self._read_small(fd, before, seen.key, batch)
                if _is_same(before, os.fstat(fd)):
                    return entry
            finally:
                os.close(fd)
        batch.torn.append(path_of(seen.key))
        return entry

    def _read_small(self, fd: int, status: os.stat_result, key: Key, batch: _Batch) -> Entry:
        attributes = attributes_of_file(fd, key)
        size = status.st_size
        if size <= INLINE_BYTES_MAX:
            data = read_fully(fd, 0, size)
            batch.file_bytes += len(data)
            return described(Kind.FILE, status, attributes, Inline(data=data))
        extents: list[Extent] = []
        for start, length, has_data in stretches(fd, size, status.st_blocks):
            if not has_data:
                extents.append(Extent(None, length))
                continue
            for raw in cut(fd, start, length, self._parameters):
                extent, stored = self._encoded(raw)
                extents.append(extent)
                if stored is not None:
                    batch.chunks.append(stored)
                batch.file_bytes += len(raw)
        return described(Kind.FILE, status, attributes, _extents(extents))

    def _encoded(self, raw: bytes | memoryview) -> tuple[Extent, _Stored | None]:
        chunk = chunk_id(raw)
        extent = Extent(chunk, len(raw))
        if self._known.has(chunk) or not self._known.add(chunk):
            return extent, None
        codec, data = encode(raw)
        return extent, _Stored(chunk, codec, data, len(raw))

    # ── Large files ──────────────────────────────────────────────────────────

    def _read_large(self, key: Key, seen: Seen) -> Iterator[None]:
        """Hand out a file's chunks as they are read; yield after each."""
        file = _LargeFile(key, seen)
        folder, _, name = key.partition(b"\0")
        try:
            with self._volume.folder(folder) as folder_fd:
                fd = open_file(name, folder_fd)
        except OSError as error:
            if error.errno not in GONE:
                raise
            self._waiting.append((0, file))
            return
        try:
            before = os.fstat(fd)
            if stat.S_ISREG(before.st_mode):
                attributes = attributes_of_file(fd, key)
                for start, length, has_data in stretches(fd, before.st_size, before.st_blocks):
                    if not has_data:
                        self._waiting.append((0, _Piece(file, _done(Extent(None, length)))))
                        continue
                    for raw in cut(fd, start, length, self._parameters):
                        self._in_flight_bytes += len(raw)
                        work = self._threads.submit(self._encoded, raw)
                        self._waiting.append((len(raw), _Piece(file, work)))
                        self.file_bytes += len(raw)
                        yield
                file.entry = described(Kind.FILE, before, attributes, None)
                if not _is_same(before, os.fstat(fd)):
                    self.torn.append(path_of(key))
        finally:
            os.close(fd)
        self._waiting.append((0, file))
        yield

    def _finished(self, file: _LargeFile) -> Entry | None:
        self.entries += 1
        if file.entry is None:
            return None
        entry = _with_content(file.entry, _extents(file.extents))
        if entry.several_names:
            self._links[entry.inode] = entry
        return entry


def _extents(extents: list[Extent]) -> Extents | Inline:
    if not extents:
        return Inline(data=b"")  # it was cut short before it was read
    size = sum(extent.length_bytes for extent in extents)
    return Extents(size_bytes=size, extents=tuple(extents))


def _with_content(entry: Entry, content: Extents | Inline) -> Entry:
    return msgspec.structs.replace(entry, content=content)


def _done(extent: Extent) -> Future[tuple[Extent, _Stored | None]]:
    future: Future[tuple[Extent, _Stored | None]] = Future()
    future.set_result((extent, None))
    return future


def _is_same(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )
