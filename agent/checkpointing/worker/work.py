"""What each order does, with what earlier ones have opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.checkpointing.facts import (
    Restored,
    RestoreProgress,
    Saved,
    SaveProgress,
    Swept,
)
from agent.checkpointing.orders import RestoreUnderway, SaveUnderway
from agent.checkpointing.worker.arrivals import Arrivals
from agent.checkpointing.worker.image import Image
from checkpoints.collecting.sweeping import Sweeper
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.format.ids import Generation, parse_checkpoint_id
from checkpoints.format.names import Place, parse_record
from checkpoints.reading.restore import restore
from checkpoints.repository import NoRepositoryError, Repository
from checkpoints.storage.failures import NotThereError
from checkpoints.storage.opening import open_storage, reliable
from checkpoints.storage.urls import Access, parse_location
from checkpoints.writing.reliance import ParentGoneError
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from agent.checkpointing.orders import Underway
    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.record import Record
    from checkpoints.reading.progress import Progress as Restoring
    from checkpoints.repository import Records
    from checkpoints.writing.capture import Progress as Writing
    from common.clock import Clock
    from common.session_spec import WorkDirectory

_log = structlog.get_logger()


class Work:
    """On one work directory. One call at a time; raises what `translation` knows."""

    def __init__(self, work_directory: WorkDirectory, *, clock: Clock, rng: random.Random) -> None:
        self._work_directory = work_directory
        self._clock = clock
        self._rng = rng
        self._repository: Repository | None = None
        self._writer: Writer | None = None
        self._sweeper: Sweeper | None = None
        self._on_arrival: Callable[[], None] = _nothing

    async def seal(self, checkpoint_id: str, run_number: int) -> Saved | None:
        parsed = parse_checkpoint_id(checkpoint_id)
        repository = await self._opened()
        record = await seal(repository, parsed, run_number=run_number)
        if record is None:
            return None
        return _saved(record, await repository.records(parsed))

    async def newest(self, checkpoint_id: str, before: int | None) -> Saved | None:
        parsed = parse_checkpoint_id(checkpoint_id)
        try:
            repository = await self._opened()
        except NoRepositoryError:
            return None
        records = await repository.records(parsed)
        for record in records.generations:
            if before is None or record.generation < before:
                return _saved(record, records, before)
        return None

    async def open(
        self, checkpoint_id: str, run_number: int, image: str, parent: Saved | None
    ) -> Saved | None:
        self._writer = self._sweeper = None
        parsed = parse_checkpoint_id(checkpoint_id)
        repository = await self._opened(create=True)
        writer = await Writer.open(
            repository,
            parsed,
            run_number=run_number,
            image=image,
            parent=await self._parent(repository, parsed, parent),
        )
        self._writer, self._sweeper = writer, Sweeper(repository, writer)
        return _saved(writer.previous) if writer.previous is not None else None

    async def write(
        self,
        folder: str,
        changes: Sequence[bytes] | None,
        since_generation: int,
        *,
        originals: str | None = None,
        final: bool,
        say: Callable[[Underway], None],
    ) -> Saved:
        writer = self._writer
        assert writer is not None, "a checkpoint is opened before it is written"
        previous = writer.previous
        if changes is not None and (previous is None or previous.generation < since_generation):
            found = previous.generation if previous is not None else 0
            _log.warning("checkpoint_compared", found=found, known=since_generation)
            changes = None

        last = SaveProgress(entries=0, read_bytes=0, stored_bytes=0)

        def progress(done: Writing) -> None:
            nonlocal last
            last = SaveProgress(
                entries=done.entries, read_bytes=done.read_bytes, stored_bytes=done.stored_bytes
            )
            say(SaveUnderway(progress=last))

        self._on_arrival = lambda: say(SaveUnderway(progress=last))
        try:
            record = await writer.write(
                Path(folder),
                originals=None if originals is None else Path(originals),
                changes=changes,
                progress=progress,
                final=final,
            )
        finally:
            self._on_arrival = _nothing
        return _saved(record)

    async def sweep(self) -> Swept:
        assert self._sweeper is not None, "only a writer sweeps"
        swept = await self._sweeper.sweep()
        return Swept(
            records=swept.records,
            deleted_bytes=swept.deleted_bytes,
            refused=swept.refused,
            is_waiting=self._sweeper.is_waiting,
        )

    async def restore(
        self, saved: Saved, folder: str, over: Sequence[str], *, say: Callable[[Underway], None]
    ) -> Restored:
        repository = await self._opened()
        record = await repository.record(_place(saved))
        if record.tree is None or record.tree.root != saved.root:
            raise DamagedError(f"the record {record.place} is another than was found before")

        def report(done: Restoring) -> None:
            progress = RestoreProgress(entries=done.entries, file_bytes=done.file_bytes)
            say(RestoreUnderway(progress=progress))

        hides = Image(over).has
        done = await restore(repository, record, Path(folder), hides=hides, report=report)
        return Restored(entries=done.entries, file_bytes=done.file_bytes, left_out=done.left_out)

    async def _opened(self, *, create: bool = False) -> Repository:
        if self._repository is None:
            where = self._work_directory
            access = Access(
                credentials=where.credentials,
                endpoint=where.endpoint,
                region=where.region,
                account=where.account,
            )
            bare = await open_storage(parse_location(where.url), access)
            told = Arrivals(bare, lambda: self._on_arrival())
            self._repository = await Repository.open(
                reliable(told, clock=self._clock, rng=self._rng),
                create=create,
                single_writer=where.single_writer,
                clock=self._clock,
                rng=self._rng,
            )
        return self._repository

    async def _parent(
        self, repository: Repository, checkpoint_id: CheckpointId, parent: Saved | None
    ) -> Record | None:
        """Return the parent's record; None if it isn't needed any more."""
        if parent is None:
            return None
        try:
            return await repository.record(_place(parent))
        except (NotThereError, DamagedObjectError) as error:
            if (await repository.records(checkpoint_id)).newest is not None:
                return None
            if isinstance(error, NotThereError):
                raise ParentGoneError.of(_place(parent)) from None
            raise


def _place(saved: Saved) -> Place:
    return Place(parse_checkpoint_id(saved.checkpoint_id), Generation(saved.generation))


def _saved(record: Record, records: Records | None = None, before: int | None = None) -> Saved:
    """Return what is told of a record; of `records`, which later ones can't be read."""
    assert record.tree is not None, "a seal holds nothing"
    passed_over = []
    for damage in records.damaged if records is not None else ():
        place = parse_record(damage.key)
        number = place.generation if place is not None else 0
        if number > record.generation and (before is None or number < before):
            passed_over.append(str(damage))
    return Saved(
        checkpoint_id=record.checkpoint_id,
        generation=record.generation,
        run_number=record.run_number,
        created_at=record.created_at,
        image=record.image,
        final=record.final,
        entries=record.tree.entries,
        file_bytes=record.tree.bytes,
        stored_bytes=record.added.stored_bytes,
        torn=record.torn,
        too_long=record.too_long,
        root=record.tree.root,
        volume=record.volume,
        passed_over=tuple(passed_over),
    )


def _nothing() -> None: ...
