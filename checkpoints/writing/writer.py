"""**Start here:** writes the generations of one checkpoint.

    capture (threads) ─ packs ─┬─ packs relied on are still there? ─ index ─ record
                               └─ no: once more, without them

A writer that stops anywhere before the record has changed nothing that anybody reads. One that was
sealed, or meets a later run, raises FencedError now and for ever.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog

from checkpoints.chunk_source import ChunkSource
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import Generation
from checkpoints.format.index import Index, IndexBuilder
from checkpoints.format.names import Place
from checkpoints.format.record import Added, PlaceField, Record, TreeField
from checkpoints.writing.capture import Capture, Captured, Progress, Source
from checkpoints.writing.commit import (
    FencedError,
    PacksGoneError,
    check_packs,
    new_writer,
    put_index,
    put_record,
    to_merge,
    tombstones,
)
from checkpoints.writing.dedupe import Known
from checkpoints.writing.others import indexes_of_others
from checkpoints.writing.pack_writer import Uploads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from checkpoints.format.ids import CheckpointId, PackId
    from checkpoints.repository import Repository

CAPTURES_MAX = 4
"""Packs that were relied on may go meanwhile. Twice in a row takes a day each time."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_log = structlog.get_logger()


class Writer:
    """Writes under one checkpoint id, for one run. One write at a time."""

    def __init__(
        self,
        repository: Repository,
        checkpoint_id: CheckpointId,
        *,
        run_number: int,
        image: str,
        previous: Record | None,
        next_generation: Generation,
    ) -> None:
        """Use `open`."""
        self.previous = previous
        """The newest generation: of this checkpoint, or of the one that it continues."""
        self._repository = repository
        self._checkpoint_id = checkpoint_id
        self._run_number = run_number
        self._image = image
        self._next = next_generation
        self._writer = new_writer(repository.rng)
        self._indexes: dict[Place, Index] = {}
        self._others: tuple[Index, ...] | None = None
        self._fenced = ""

    @classmethod
    async def open(
        cls,
        repository: Repository,
        checkpoint_id: CheckpointId,
        *,
        run_number: int,
        image: str = "",
        parent: Record | None = None,
    ) -> Writer:
        """Begin a checkpoint that continues `parent`, or go on with one after a restart.

        Raises FencedError, StorageError, DamagedObjectError.
        """
        records = await repository.records(checkpoint_id)
        for record in records.found:
            if record.kind == "seal" or record.run_number > run_number:
                raise FencedError(
                    f"Checkpoint {checkpoint_id} was taken over by run {record.run_number}."
                )
        taken = [place.generation for place in await repository.places(checkpoint_id)]
        writer = cls(
            repository,
            checkpoint_id,
            run_number=run_number,
            image=image,
            previous=records.newest or parent,
            next_generation=Generation(max(taken, default=0) + 1),
        )
        if writer.previous is not None:
            writer._indexes = dict(await repository.indexes(writer.previous))
        return writer

    async def write(
        self,
        folder: Path,
        *,
        changes: Iterable[bytes] | None = None,
        progress: Callable[[Progress], None] | None = None,
        final: bool = False,
        prefetch: Sequence[str] = (),
    ) -> Record:
        """Commit what is in `folder` as the next generation.

        `changes` are the paths of all whose inode was touched since the generation before (see
        `difference.Listed`); without, all metadata are compared. Raises FencedError, RefusedError,
        StorageError, OSError; then nothing was committed, unless the store lost an answer: the next
        write finds that out.
        """
        if self._fenced:
            raise FencedError(self._fenced)
        changed = None if changes is None else tuple(changes)
        banned = await tombstones(self._repository)
        is_trusted = True
        for _ in range(CAPTURES_MAX):
            try:
                return await self._write(
                    folder, changed, banned, progress, final, tuple(prefetch), is_trusted
                )
            except PacksGoneError as error:
                _log.info("checkpoint_packs_gone", packs=len(error.packs))
                banned |= error.packs
            except DamagedError as error:
                if not is_trusted:
                    raise
                _log.warning("checkpoint_written_anew", reason=str(error))
                is_trusted = False
            except FencedError as error:
                self._fenced = str(error)
                raise
        raise AssertionError("the packs that a write relies on go faster than it writes")

    async def _write(
        self,
        folder: Path,
        changed: Sequence[bytes] | None,
        banned: frozenset[PackId],
        progress: Callable[[Progress], None] | None,
        final: bool,
        prefetch: tuple[str, ...],
        is_trusted: bool,
    ) -> Record:
        """Write once. If what is stored isn't trusted, none of it is relied on."""
        repository = self._repository
        started_at = repository.clock.now()
        indexes = self._indexes if is_trusted else {}
        source, known = await self._prepare(folder, changed, banned, indexes, is_trusted)
        captured = await self._capture(source, known, progress)
        for path in captured.torn:
            _log.warning("checkpoint_file_torn", path=repr(path))
        await check_packs(repository, known.packs.values())
        place = Place(self._checkpoint_id, self._next)
        indexes = await self._commit_index(place, captured, known, indexes)
        root = captured.root
        record = await put_record(
            repository,
            Record(
                kind="generation",
                checkpoint_id=self._checkpoint_id,
                generation=self._next,
                run_number=self._run_number,
                writer=self._writer,
                created_at=started_at,
                parent=PlaceField.of(self.previous.place) if self.previous else None,
                image=self._image,
                final=final,
                tree=TreeField(
                    root=root.chunk_id.hex(),
                    root_bytes=root.raw_bytes,
                    entries=root.entries,
                    bytes=root.file_bytes,
                ),
                indexes=tuple(PlaceField.of(index) for index in indexes),
                added=Added(
                    chunks=captured.chunks,
                    raw_bytes=captured.raw_bytes,
                    stored_bytes=captured.stored_bytes,
                ),
                prefetch=prefetch,
            ),
        )
        self.previous = record
        self._indexes = indexes
        self._next = Generation(record.generation + 1)
        return record

    async def _prepare(
        self,
        folder: Path,
        changed: Sequence[bytes] | None,
        banned: frozenset[PackId],
        indexes: dict[Place, Index],
        is_trusted: bool,
    ) -> tuple[Source, Known]:
        if not is_trusted:
            return Source(folder, None), Known()
        repository, previous = self._repository, self.previous
        if self._others is None and changed != ():
            self._others = await indexes_of_others(repository, self._checkpoint_id)
        moved = await repository.moved()
        own = tuple(indexes.values())
        known = Known(own, moved=moved, others=self._others or (), banned=banned)
        if previous is None:
            return Source(folder, None), known
        chunks = ChunkSource(repository.storage, own, repository.moved, moved)
        since_ns = (previous.created_at - _EPOCH) // timedelta(microseconds=1) * 1000
        tree = repository.tree(previous, chunks)
        return Source(folder, tree, since_ns, changed), known

    async def _capture(
        self, source: Source, known: Known, progress: Callable[[Progress], None] | None
    ) -> Captured:
        """Run a capture in a thread of its own. Cancelled, it ends before this does."""
        repository = self._repository
        loop = asyncio.get_running_loop()
        uploads = Uploads(repository.storage)

        def report(state: Progress) -> None:
            if progress is not None:
                loop.call_soon_threadsafe(progress, state)

        capture = Capture(
            source,
            parameters=repository.parameters,
            known=known,
            nodes=repository.nodes,
            uploads=uploads,
            rng=repository.rng,
            progress=report,
        )
        thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint-write")
        work = asyncio.wrap_future(thread.submit(capture.run))
        try:
            return await asyncio.shield(work)
        finally:
            uploads.stop()
            while not work.done():
                await asyncio.wait({work})
            if not work.cancelled():
                work.exception()  # taken notice of
            thread.shutdown(wait=False)

    async def _commit_index(
        self, place: Place, captured: Captured, known: Known, indexes: dict[Place, Index]
    ) -> dict[Place, Index]:
        """Store the index of what is new, and return all that the record needs."""
        if not captured.packs and not known.reused:
            return indexes
        merged = to_merge(indexes)

        def build() -> tuple[bytes, Index]:
            builder = IndexBuilder()
            for pack in captured.packs:
                builder.add_table(pack.facts, pack.table)
            for chunk, where in known.reused.items():
                builder.add(chunk, where)
            for old in merged:
                for chunk, where in indexes[old].items():
                    builder.add(chunk, where)
            data = builder.finish()
            return data, Index(data)

        data, index = await asyncio.to_thread(build)
        stored = await put_index(self._repository, place, data)
        kept = {old: found for old, found in indexes.items() if old not in set(merged)}
        return {stored: index, **kept}
