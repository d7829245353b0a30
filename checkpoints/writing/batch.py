"""What one thread makes of some names: entries, and chunks to be stored.

A file that changes while it is read is read again. If it does so each time, what was read last is
kept, and the file is called torn. Its entry agrees with itself all the same: its size is that of
what was read, and the next capture sees that it has changed.
"""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.codec import Codec, encode
from checkpoints.format.ids import ChunkId, chunk_id
from checkpoints.tree.entry import INLINE_BYTES_MAX, Entry, Extents, Inline, Kind, deletion
from checkpoints.tree.extents import Extent
from checkpoints.tree.keys import name_of, path_of
from checkpoints.writing.chunking import cut, stretches
from checkpoints.writing.originals import beside, reading
from checkpoints.writing.scan import Seen, described, entry_of
from checkpoints.writing.volume import GONE, attributes_of_file, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.format.parameters import Parameters
    from checkpoints.tree.keys import Key
    from checkpoints.writing.chunking import Read
    from checkpoints.writing.dedupe import Known
    from checkpoints.writing.originals import Originals
    from checkpoints.writing.volume import Volume

LARGE_FILE_BYTES = 4 * 1024 * 1024
"""Longer ones are read piece by piece: a batch is in memory as a whole."""
TRIES_MAX = 3
"""So often a file is read that changes meanwhile. On a snapshot, none does."""

Item = tuple["Key", "Entry | Seen | None"]
"""An entry that is known, or what was seen and has to be described; None of what is gone."""


class Stored(msgspec.Struct, frozen=True, gc=False):
    """A chunk to be put into a pack."""

    chunk: ChunkId
    codec: Codec
    data: bytes
    raw_bytes: int


@dataclass
class Batch:
    """What came of some items."""

    entries: list[tuple[Key, Entry | None]] = field(default_factory=list)
    chunks: list[Stored] = field(default_factory=list)
    file_bytes: int = 0
    torn: list[bytes] = field(default_factory=list)
    vanished: list[Key] = field(default_factory=list)


class Describer:
    """Describes what is in a volume. Threads share it."""

    def __init__(
        self,
        volume: Volume,
        parameters: Parameters,
        known: Known,
        *,
        has_base: bool,
        originals: Originals | None = None,
    ) -> None:
        self._volume = volume
        self._number = volume.number
        self._parameters = parameters
        self._known = known
        self._originals = originals
        self.in_its_place = deletion(volume.number) if has_base else None
        """What a name has that vanished. Where the volume lies over something, it mostly is a
        deletion now; if it isn't, the next capture sees that: a name of the volume's that isn't
        there."""

    def work(self, items: list[Item]) -> Batch:
        """Return what comes of items that ascend by key. Raises OSError, RefusedError."""
        batch = Batch()
        for folder, inside in _by_folder(items):
            self._work_in_folder(folder, inside, batch)
        return batch

    def work_from_disk(self, items: list[Item]) -> Batch:
        """Return the same of files that aren't in memory: all are asked for before one is read."""
        for folder, inside in _by_folder(items):
            with contextlib.suppress(OSError):  # reading them tells
                with self._volume.folder(folder) as fd, beside(self._originals, folder) as live_fd:
                    for key, item in inside:
                        if isinstance(item, Seen) and stat.S_ISREG(item.status.st_mode):
                            _ask_for(name_of(key), fd if live_fd is None else live_fd)
        return self.work(items)

    def _work_in_folder(self, folder: bytes, items: list[Item], batch: Batch) -> None:
        """Describe what lies in one folder, which is opened once."""
        done = len(batch.entries)
        if any(isinstance(item, Seen) for _, item in items):
            try:
                with self._volume.folder(folder) as fd, beside(self._originals, folder) as live_fd:
                    for key, item in items:
                        if isinstance(item, Seen):
                            item = self._entry(item, fd, live_fd, batch)
                        batch.entries.append((key, item))
            except OSError as error:
                if error.errno not in GONE:
                    raise
        for key, item in items[len(batch.entries) - done :]:
            entry = self._gone(key, batch) if isinstance(item, Seen) else item
            batch.entries.append((key, entry))

    def _entry(self, seen: Seen, folder_fd: int, live_fd: int | None, batch: Batch) -> Entry | None:
        if stat.S_ISREG(seen.status.st_mode):
            entry = self._file(seen, folder_fd, live_fd, batch)
        else:
            entry = entry_of(seen, folder_fd, self._number)
        return self._gone(seen.key, batch) if entry is None else entry

    def _gone(self, key: Key, batch: Batch) -> Entry | None:
        batch.vanished.append(key)
        return self.in_its_place

    def _file(self, seen: Seen, folder_fd: int, live_fd: int | None, batch: Batch) -> Entry | None:
        name = seen.key.partition(b"\0")[2]
        bytes_max = max(seen.status.st_size, LARGE_FILE_BYTES)
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
                size = min(before.st_size, bytes_max)  # it may have become very long meanwhile
                with reading(self._originals, name, live_fd, fd, before) as read:
                    entry = self._read(fd, read, before, size, seen.key, batch)
                if before.st_size <= bytes_max and is_same(before, os.fstat(fd)):
                    return entry
            finally:
                os.close(fd)
        batch.torn.append(path_of(seen.key))
        return entry

    def _read(
        self, fd: int, read: Read, status: os.stat_result, size: int, key: Key, batch: Batch
    ) -> Entry:
        attributes = attributes_of_file(fd, key)
        if size <= INLINE_BYTES_MAX:
            data = read(0, size)
            batch.file_bytes += len(data)
            return described(Kind.FILE, status, attributes, Inline(data=data), self._number)
        extents: list[Extent] = []
        for start, length, has_data in stretches(fd, size, status.st_blocks):
            if not has_data:
                extents.append(Extent(None, length))
                continue
            for raw in cut(read, start, length, self._parameters):
                extent, stored = self.encoded(raw)
                extents.append(extent)
                if stored is not None:
                    batch.chunks.append(stored)
                batch.file_bytes += len(raw)
        return described(Kind.FILE, status, attributes, content_of(extents), self._number)

    def encoded(self, raw: bytes | memoryview) -> tuple[Extent, Stored | None]:
        """Return a chunk's extent, and what has to be stored of it, if anything."""
        chunk = chunk_id(raw)
        extent = Extent(chunk, len(raw))
        if self._known.has(chunk) or not self._known.add(chunk):
            return extent, None
        codec, data = encode(raw)
        return extent, Stored(chunk, codec, data, len(raw))


def _by_folder(items: list[Item]) -> Iterator[tuple[bytes, list[Item]]]:
    """Yield each folder's path and what lies in it, of items that ascend by key."""
    at = 0
    while at < len(items):
        folder = items[at][0].partition(b"\0")[0]
        end = at + 1
        prefix = folder + b"\0"
        while end < len(items) and items[end][0].startswith(prefix):
            end += 1
        yield folder, items[at:end]
        at = end


def _ask_for(name: bytes, folder_fd: int) -> None:
    """Have the kernel begin to read a file, if it can."""
    with contextlib.suppress(OSError):
        fd = open_file(name, folder_fd)
        try:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_WILLNEED)
        finally:
            os.close(fd)


def content_of(extents: Iterable[Extent]) -> Extents | Inline:
    """Return the content of a file with these extents, however long it was said to be."""
    found = tuple(extents)
    if not found:
        return Inline(data=b"")  # it was cut short before it was read
    return Extents(size_bytes=sum(extent.length_bytes for extent in found), extents=found)


def is_same(before: os.stat_result, after: os.stat_result) -> bool:
    """Return whether a file was not touched between."""
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
    )
