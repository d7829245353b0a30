"""Stores better what is kept: what is needed of packs goes to new ones, compressed well.

    packs, as they were written ─ needed stretches ─ checked, compressed again ─ new packs
      ─ all there? ─ `index/moved/…` ─ the old ones have nothing left that is needed

Chunks keep their order, which is by path within what one generation wrote. From the new index on,
readers look into the new packs first; the old ones are found without use by later collections, and
go as all packs do. Whatever ends before that index has changed nothing.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import structlog

from checkpoints.collecting.tables import read_table
from checkpoints.format import names
from checkpoints.format.codec import Codec, decode, encode
from checkpoints.format.damage import DamagedError
from checkpoints.format.index import IndexBuilder, name_of_moved, named
from checkpoints.format.pack import PackKind
from checkpoints.storage.failures import NotThereError, StorageBrokenError
from checkpoints.storage.storage import Range
from checkpoints.writing.pack_writer import PackWriter, Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from checkpoints.collecting.candidates import Candidate
    from checkpoints.collecting.interruptible import Interruptible
    from checkpoints.collecting.marks import Marks
    from checkpoints.format.ids import ChunkId
    from checkpoints.format.pack import PackEntry
    from checkpoints.repository import Repository
    from checkpoints.writing.pack_writer import ClosedPack

THREADS = 2
IN_FLIGHT_MAX = 8
"""Chunks being compressed again: 4 MiB raw each at most."""
BATCH_BYTES = 256 * 1024 * 1024
"""Of new packs to one index: some ten thousand chunks, and seldom lost by whoever is cut off."""

_log = structlog.get_logger()


class Rewriting:
    """Rewrites packs for one collection. Runs in its thread."""

    def __init__(
        self, repository: Repository, marks: Marks, thread: Interruptible, *, level: int
    ) -> None:
        """Belong to the event loop that runs."""
        self.packs = 0
        """Whose needed chunks are elsewhere now."""
        self.bytes_before = 0
        self.bytes_after = 0
        self.problems: list[str] = []
        self._repository = repository
        self._storage = repository.storage
        self._marks = marks
        self._thread = thread
        self._level = level
        self.uploads = Uploads(repository.storage)

    def run(self, candidates: Sequence[Candidate], report: Callable[[int], None]) -> None:
        """Rewrite packs; `report` is told how many are done. Raises StorageError."""
        with ThreadPoolExecutor(THREADS, thread_name_prefix="checkpoint-compress") as threads:
            batch = _Batch(self._repository, self.uploads)
            for number, candidate in enumerate(candidates):
                report(number)
                try:
                    self._rewrite(candidate, batch, threads)
                except NotThereError:
                    continue  # its writer has swept it up
                except (DamagedError, StorageBrokenError) as error:
                    key = names.pack(candidate.kind, candidate.pack_id)
                    self.problems.append(f"{key}: {error}")
                    continue
                if batch.stored_bytes >= BATCH_BYTES:
                    self._commit(batch)
                    batch = _Batch(self._repository, self.uploads)
            self._commit(batch)

    def _rewrite(self, candidate: Candidate, batch: _Batch, threads: ThreadPoolExecutor) -> None:
        """Add what is needed of a pack to the batch, all or nothing that counts."""
        if candidate.salvaged is not None:
            self._salvage(candidate, candidate.salvaged, batch)
            return
        entries = self._needed(candidate)
        waiting: deque[tuple[PackEntry, Future[tuple[Codec, bytes]]]] = deque()
        try:
            for entry, stored in self._stored(candidate, entries):
                work = threads.submit(_again, entry, stored, self._level)
                waiting.append((entry, work))
                if len(waiting) >= IN_FLIGHT_MAX:
                    batch.add(candidate.kind, *_taken(waiting))
            while waiting:
                batch.add(candidate.kind, *_taken(waiting))
        finally:
            for _, work in waiting:
                work.cancel()
        batch.rewritten.append(candidate)

    def _salvage(self, candidate: Candidate, entries: Sequence[PackEntry], batch: _Batch) -> None:
        """Add what is whole of a damaged pack. What isn't, its mark doesn't know of."""
        key = names.pack(candidate.kind, candidate.pack_id)
        data = memoryview(self._thread.wait_for(self._storage.get(key)))
        bad = 0
        for entry in entries:
            stored = data[entry.offset : entry.offset + entry.stored_bytes]
            try:
                codec, shorter = _again(entry, stored, self._level)
            except DamagedError:
                bad += 1
                continue
            batch.add(candidate.kind, entry, codec, shorter)
        if bad:
            self.problems.append(f"{key}: {bad} more of its chunks can't be read")
        if bad < len(entries):
            batch.rewritten.append(candidate)

    def _needed(self, candidate: Candidate) -> list[PackEntry]:
        """Return the entries of the pack's own table that are needed."""
        table = self._thread.wait_for(read_table(self._storage, candidate.kind, candidate.pack_id))
        needed = {stretch.offset for stretch in self._marks.stretches(candidate.pack_id)}
        found = [entry for entry in table if entry.offset in needed]
        if len(found) < len(needed):
            raise DamagedError("an index has chunks at places where the pack has none")
        return found

    def _stored(
        self, candidate: Candidate, entries: Sequence[PackEntry]
    ) -> Iterator[tuple[PackEntry, bytes | memoryview]]:
        """Yield what is stored of each; a pack is no more than some MiB, so all at once."""
        if not entries:
            return
        key = names.pack(candidate.kind, candidate.pack_id)
        ranges = [Range(entry.offset, entry.stored_bytes) for entry in entries]
        pieces = self._thread.wait_for(_pieces(self._repository, key, ranges))
        yield from zip(entries, pieces, strict=True)

    def _commit(self, batch: _Batch) -> None:
        """Let readers know where the chunks are now, once they surely are."""
        packs = batch.close()
        if not packs:
            return
        self.uploads.drain()
        if not self._thread.wait_for(_are_there(self._repository, packs)):
            self.problems.append("Packs that were written just now are gone: no index has them")
            return
        builder = IndexBuilder()
        for pack in packs:
            builder.add_table(pack.facts, pack.table)
        first = packs[0].facts.pack_id
        data = named(builder.finish(), name_of_moved(first))
        self._thread.wait_for(self._storage.put_new(names.moved(first), data))
        self.packs += len(batch.rewritten)
        self.bytes_before += sum(each.object_bytes for each in batch.rewritten)
        self.bytes_after += sum(pack.facts.object_bytes for pack in packs)
        _log.info("collection_packs_rewritten", packs=len(batch.rewritten), into=len(packs))


class _Batch:
    """New packs that one index will list."""

    def __init__(self, repository: Repository, uploads: Uploads) -> None:
        self.rewritten: list[Candidate] = []
        self._chunks: set[ChunkId] = set()
        self._packs = {kind: PackWriter(kind, uploads.send, repository.rng) for kind in PackKind}

    @property
    def stored_bytes(self) -> int:
        return sum(pack.stored_bytes for pack in self._packs.values())

    def add(self, kind: PackKind, entry: PackEntry, codec: Codec, stored: bytes) -> None:
        """Add a chunk, if it isn't in: it may have been stored twice."""
        if entry.chunk_id not in self._chunks:
            self._chunks.add(entry.chunk_id)
            self._packs[kind].add(entry.chunk_id, codec, stored, entry.raw_bytes)

    def close(self) -> list[ClosedPack]:
        """Send off what is open, and return all packs."""
        for pack in self._packs.values():
            pack.close()
        return [closed for pack in self._packs.values() for closed in pack.closed]


async def _are_there(repository: Repository, packs: Sequence[ClosedPack]) -> bool:
    """Say whether all packs are there whole, and none is announced. A machine may have slept."""
    announced = await repository.tombstones()
    for pack in packs:
        facts = pack.facts
        try:
            size = await repository.storage.size(names.pack(facts.kind, facts.pack_id))
        except NotThereError:
            return False
        if size != facts.object_bytes or facts.pack_id in announced:
            return False
    return True


async def _pieces(
    repository: Repository, key: str, ranges: Sequence[Range]
) -> Sequence[bytes | memoryview]:
    return await repository.storage.get_ranges(key, ranges)


def _taken(
    waiting: deque[tuple[PackEntry, Future[tuple[Codec, bytes]]]],
) -> tuple[PackEntry, Codec, bytes]:
    entry, work = waiting.popleft()
    return entry, *work.result()


def _again(entry: PackEntry, stored: bytes | memoryview, level: int) -> tuple[Codec, bytes]:
    """Return a chunk as it is to be stored now: checked, and never longer. Raises DamagedError."""
    raw = decode(stored, entry.codec, raw_bytes=entry.raw_bytes, expected=entry.chunk_id)
    codec, shorter = encode(raw, level=level)
    if len(shorter) < len(stored):
        return codec, shorter
    return Codec(entry.codec), bytes(stored)
