"""One generation as the layer of an OCI image: tar, compressed with zstd.

The tree is walked and the archive compressed in threads, some megabytes at a time; while one such
window is compressed, the chunks of the next are on their way.
"""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import zstandard

from checkpoints.reading.layer import LeftOut, archive
from checkpoints.reading.progress import Progress
from checkpoints.tree.extents import Extent
from common.tasks import first_of
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

MEDIA_TYPE = "application/vnd.oci.image.layer.v1.tar+zstd"
LEVEL = 3
"""Layers are pushed and pulled: worth more than what a checkpoint is given."""
WINDOW_BYTES = 16 << 20
"""Of chunks. Two windows are in memory at a time."""
WINDOW_PIECES = 20_000
_ZEROS = bytes(1 << 20)
_THREADS = 3


@dataclass(frozen=True, slots=True)
class Exported:
    """What an image's manifest and configuration say about the layer."""

    digest: str
    """Of what was written: `sha256:…`."""
    diff_id: str
    """The same of the archive before it was compressed."""
    size_bytes: int
    entries: int
    left_out: tuple[LeftOut, ...]


async def export_layer(
    repository: Repository,
    record: Record,
    output: BinaryIO,
    *,
    report: Callable[[Progress], None] = lambda _: None,
) -> Exported:
    """Write a generation's layer. Raises DamagedError, StorageError, OSError."""
    source = await repository.chunks(record)
    tree = repository.tree(record, source)
    left_out: list[LeftOut] = []
    sink = _Sink(output)
    entries = record.tree.entries if record.tree else 0
    with Threads(_THREADS, "export") as threads:
        windows = _windows(archive(tree.walk(), source.fetch, left_out.append))
        window = await threads.run(next, windows, None)
        chunks = await _read(source, window)
        while window is not None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(threads.run(sink.write, window, chunks))
                    window = await threads.run(next, windows, None)
                    chunks = await _read(source, window)
            except BaseExceptionGroup as errors:
                raise first_of(errors) from None
            report(Progress(entries=entries, file_bytes=sink.content_bytes))
        return await threads.run(sink.finish, entries, left_out)


def _windows(pieces: Iterator[bytes | Extent]) -> Iterator[list[bytes | Extent]]:
    window: list[bytes | Extent] = []
    chunk_bytes = 0
    for piece in pieces:
        window.append(piece)
        if isinstance(piece, Extent) and piece.chunk_id is not None:
            chunk_bytes += piece.length_bytes
        if chunk_bytes >= WINDOW_BYTES or len(window) >= WINDOW_PIECES:
            yield window
            window, chunk_bytes = [], 0
    yield window


async def _read(
    source: ChunkSource, window: list[bytes | Extent] | None
) -> Mapping[ChunkId, bytes]:
    wanted = [
        piece.chunk_id
        for piece in window or ()
        if isinstance(piece, Extent) and piece.chunk_id is not None
    ]
    found: dict[ChunkId, bytes] = {}

    async def take(chunks: list[tuple[ChunkId, bytes]]) -> None:
        found.update(chunks)

    await source.read_many(wanted, take)
    return found


class _Sink:
    """The archive's way into the file. Blocks; for one thread at a time."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, threads=2).compressobj()
        self._whole = hashlib.sha256()
        self._compressed = hashlib.sha256()
        self._size_bytes = 0
        self.content_bytes = 0

    def write(self, window: list[bytes | Extent], chunks: Mapping[ChunkId, bytes]) -> None:
        for piece in window:
            if isinstance(piece, bytes):
                self._add(piece)
                continue
            self.content_bytes += piece.length_bytes
            if piece.chunk_id is not None:
                self._add(chunks[piece.chunk_id])
                continue
            for start in range(0, piece.length_bytes, len(_ZEROS)):
                self._add(_ZEROS[: piece.length_bytes - start])

    def finish(self, entries: int, left_out: list[LeftOut]) -> Exported:
        self._put(self._compressor.flush())
        self._output.flush()
        return Exported(
            digest=f"sha256:{self._compressed.hexdigest()}",
            diff_id=f"sha256:{self._whole.hexdigest()}",
            size_bytes=self._size_bytes,
            entries=entries,
            left_out=tuple(left_out),
        )

    def _add(self, data: bytes) -> None:
        self._whole.update(data)
        self._put(self._compressor.compress(data))

    def _put(self, data: bytes) -> None:
        self._compressed.update(data)
        self._output.write(data)
        self._size_bytes += len(data)
