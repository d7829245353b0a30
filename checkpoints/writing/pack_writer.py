"""Fills packs and sends them off, a bounded number at a time.

Runs in the one thread that writes; uploads run on the event loop. Of a closed pack only its table
is kept: 48 bytes a chunk, from which the index is made.
"""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.ids import new_pack_id
from checkpoints.format.index import PackFacts
from checkpoints.format.pack import (
    PACK_BYTES_FULL,
    TRAILER_BYTES,
    PackEntry,
    PackKind,
    footer,
)

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from concurrent.futures import Future

    from checkpoints.format.codec import Codec
    from checkpoints.format.ids import ChunkId, Generation
    from checkpoints.storage.storage import Storage

UPLOADS_MAX = 6
"""Packs under way: 8 to 12 MiB each. Buckets take some 80 MB/s from each connection; with six, a
first write waits for the processors and no more for them."""


class StoppedError(Exception):
    """The write was given up by whoever had asked for it."""


class Uploads:
    """Objects on their way to the store. Threads hand them in, the event loop carries them."""

    def __init__(self, storage: Storage) -> None:
        """Belong to the event loop that runs."""
        self._storage = storage
        self._loop = asyncio.get_running_loop()
        self._places = threading.BoundedSemaphore(UPLOADS_MAX)
        self._lock = threading.Lock()
        self._under_way: set[Future[None]] = set()
        self._failure: BaseException | None = None
        self._stopped = False

    def send(self, key: str, data: bytes) -> None:
        """Hand an object in, when there is room. Raises what an earlier one failed with."""
        self._places.acquire()
        try:
            with self._lock:  # who stops finds it, or it finds that it was stopped
                self.check()
                sent = self._storage.put_new(key, data)
                future = asyncio.run_coroutine_threadsafe(sent, self._loop)
                self._under_way.add(future)
        except BaseException:
            self._places.release()
            raise
        future.add_done_callback(self._done)

    def check(self) -> None:
        """Raise what an upload failed with, or StoppedError."""
        if self._stopped:
            raise StoppedError
        if self._failure is not None:
            raise self._failure

    def drain(self) -> None:
        """Return when all that was handed in is stored. Raises what one failed with."""
        for _ in range(UPLOADS_MAX):
            self._places.acquire()
        for _ in range(UPLOADS_MAX):
            self._places.release()
        self.check()

    def stop(self) -> None:
        """Cancel what is under way; who hands something in from now on is told. Idempotent."""
        with self._lock:
            self._stopped = True
            under_way = list(self._under_way)
        for future in under_way:
            future.cancel()

    def _done(self, future: Future[None]) -> None:
        with self._lock:
            self._under_way.discard(future)
        if not future.cancelled() and (error := future.exception()) is not None:
            self._failure = self._failure or error
        self._places.release()


@dataclass(frozen=True, slots=True)
class ClosedPack:
    """A pack that is on its way."""

    facts: PackFacts
    table: bytes


@dataclass(frozen=True, slots=True)
class WrittenPack:
    """A pack that a writer has handed to the store."""

    facts: PackFacts
    generation: Generation
    """That it was written for, which may never have been committed."""


class PackWriter:
    """The open pack of one kind. Belongs to one thread."""

    def __init__(
        self, kind: PackKind, send: Callable[[str, bytes], None], rng: random.Random
    ) -> None:
        self.closed: list[ClosedPack] = []
        self.raw_bytes = 0
        """Of all chunks."""
        self.stored_bytes = 0
        """Of all objects."""
        self.chunks = 0
        self._kind = kind
        self._send = send
        self._rng = rng
        self._open()

    def _open(self) -> None:
        self._pieces: list[bytes] = []
        self._entries: list[PackEntry] = []
        self._end = 0

    def add(self, chunk: ChunkId, codec: Codec, stored: bytes, raw_bytes: int) -> None:
        """Add a chunk. Waits for uploads when the pack is full."""
        self._pieces.append(stored)
        self._entries.append(PackEntry(chunk, self._end, len(stored), raw_bytes, codec))
        self._end += len(stored)
        self.raw_bytes += raw_bytes
        if self._end >= PACK_BYTES_FULL:
            self.close()

    def close(self) -> None:
        """Send the open pack off, if there is one."""
        if not self._entries:
            return
        pack_id = new_pack_id(self._rng)
        tail = footer(self._kind, pack_id, self._entries)
        data = b"".join((*self._pieces, tail))
        facts = PackFacts(pack_id, self._kind, len(data))
        self.closed.append(ClosedPack(facts, tail[:-TRAILER_BYTES]))
        self.chunks += len(self._entries)
        self.stored_bytes += len(data)
        self._open()
        self._send(names.pack(self._kind, pack_id), data)
