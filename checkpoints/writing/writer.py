"""**Start here:** writes the generations of one checkpoint.

    capture (threads) ─ packs, index ─┬─ what was relied on is still there? ─ record
                                      └─ no: once more, without it

A writer that stops anywhere before the record has changed nothing that anybody reads. One that was
sealed, or meets a later run, raises FencedError now and for ever.

A run that continues a checkpoint has a *base*: the tree that was restored, on which its volume
lies. Its first generation is that tree as it is, so that what it needs is kept; each one after that
is what the volume shows over the base.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import structlog

from checkpoints.chunk_source import ChunkSource
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.format.record import Added, PlaceField, Record
from checkpoints.storage.failures import NotThereError, StorageAwayError
from checkpoints.tree.entry import VOLUMES
from checkpoints.tree.tree import Tree
from checkpoints.writing.ahead import Ahead
from checkpoints.writing.capture import Capture, Captured, Progress, Source
from checkpoints.writing.commit import FencedError, check_fence, commit, ended, new_writer
from checkpoints.writing.dedupe import Known
from checkpoints.writing.indexes import Indexes
from checkpoints.writing.others import index_of_others
from checkpoints.writing.pack_writer import Uploads, WrittenPack
from checkpoints.writing.reliance import (
    IndexGoneError,
    PacksGoneError,
    ParentGoneError,
    PreviousGoneError,
    Reliance,
    Stopwatch,
    check_ended,
    look,
)
from checkpoints.writing.wish import Wish, considered

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from checkpoints.format.ids import CheckpointId, PackId
    from checkpoints.format.index import Index
    from checkpoints.format.record import TreeField
    from checkpoints.repository import Repository

CAPTURES_MAX = 4
"""Packs that were relied on may go meanwhile. Twice in a row takes a day each time."""

_NOTHING = Added()

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
        """The newest generation that can be read."""
        self._repository = repository
        self._checkpoint_id = checkpoint_id
        self._run_number = run_number
        self._image = image
        self._next = next_generation
        self._writer = new_writer(repository.rng)
        self._base = previous.base if previous else None
        self._volume = previous.volume if previous else 0
        self._indexes = Indexes({})
        self._others: Index | None = None
        self._packs: dict[PackId, WrittenPack] = {}
        self._healed: frozenset[PackId] = frozenset()
        self._writing = False
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
        """Begin a checkpoint, or go on with one after a restart.

        Where a `parent` was restored, and the checkpoint has no generation yet, its tree becomes
        the first. Raises ParentGoneError, ParentBusyError, FencedError, StorageError,
        DamagedObjectError.
        """
        records = await repository.records(checkpoint_id)
        check_fence(records, checkpoint_id, run_number)
        writer = cls(
            repository,
            checkpoint_id,
            run_number=run_number,
            image=image,
            previous=records.newest,
            next_generation=Generation(records.last + 1),  # of the same listing
        )
        if writer.previous is not None:
            writer._indexes = Indexes(await repository.indexes(writer.previous))
        elif parent is not None:
            await writer._inherit(parent)
        return writer

    @property
    def packs(self) -> Mapping[PackId, WrittenPack]:
        """What this writer has handed to the store, but for what it was told to forget.

        Some may never have arrived. Those of a write under way come when it has ended.
        """
        return self._packs

    def forget(self, packs: Collection[PackId]) -> None:
        """Never rely on these packs again, and list them in no later generation's indexes.

        Only between writes, and before their tombstones are put: a write that had begun before
        might rely on them and look too early.
        """
        assert not self._writing, "a write may rely on them"
        self._indexes = self._indexes.without(packs)
        for pack_id in packs:
            self._packs.pop(pack_id, None)

    async def write(
        self,
        folder: Path,
        *,
        originals: Path | None = None,
        changes: Iterable[bytes] | None = None,
        progress: Callable[[Progress], None] | None = None,
        final: bool = False,
        prefetch: Sequence[str] = (),
    ) -> Record:
        """Commit what `folder`, the run's volume, shows over its base, as the next generation.

        `changes` are the paths of all whose inode was touched since `previous` was captured (see
        `listed`); without, all metadata are compared. `originals` is the live folder that `folder`
        is a snapshot of, if it is one. Raises FencedError, ParentGoneError, RefusedError,
        StorageError, DamagedError, OSError; then nothing was committed, unless the store lost an
        answer: the next write finds that out.
        """
        if self._fenced:
            raise FencedError(self._fenced)
        assert not self._writing, "one write at a time"
        changed = None if changes is None else tuple(changes)
        self._writing = True
        try:
            return await self._try(
                Wish(
                    folder=folder, originals=originals, changed=changed,
                    progress=progress, final=final, prefetch=tuple(prefetch),
                )
            )  # fmt: skip
        except FencedError as error:
            self._fenced = str(error)
            raise
        finally:
            self._writing = False

    async def _try(self, wish: Wish) -> Record:
        wish, banned = await considered(
            self._repository, wish, self._indexes.all, healed=self._healed
        )
        is_trusted = True
        for _ in range(CAPTURES_MAX):
            try:
                return await self._write(wish, banned, is_trusted=is_trusted)
            except PacksGoneError as error:
                _log.info("checkpoint_packs_gone", packs=len(error.packs))
                banned |= error.packs
            except IndexGoneError as error:
                _log.info("checkpoint_index_gone", index=str(error.place))
                self._indexes = self._indexes.with_lost(error.place)
            except (DamagedError, PreviousGoneError) as error:
                if isinstance(error, PreviousGoneError) and self._base is not None:
                    raise ParentGoneError.of(error.place) from None
                if not is_trusted:
                    raise
                _log.warning("checkpoint_written_anew", reason=str(error))
                is_trusted = False
        raise StorageAwayError("What was relied on goes again and again.", operation="size")

    async def _write(self, wish: Wish, banned: frozenset[PackId], *, is_trusted: bool) -> Record:
        """Write once. If the generation before isn't trusted, none of what is stored is used."""
        repository = self._repository
        begun, started_at = Stopwatch(repository.clock), repository.clock.now()
        is_kept = is_trusted or self._base is not None  # the base's chunks are needed anyway
        previous, indexes = (self.previous, self._indexes) if is_kept else (None, Indexes({}))
        if self._base is None:
            indexes = indexes.without(wish.hurt)
        source, known = await self._prepare(wish, banned, is_trusted=is_trusted)
        captured = await self._capture(source, known, wish.progress)
        place = Place(self._checkpoint_id, self._next)
        stored = await indexes.stored(repository.storage, place, captured.packs, known.reused)
        reliance = Reliance(
            previous,
            packs=known.packs,
            written={pack.facts.pack_id: pack.facts for pack in captured.packs},
            index=next((new for new in stored.places if new not in indexes.found), None),
        )
        record = msgspec.structs.replace(
            self._record(started_at, captured.tree),
            final=wish.final,
            torn=len(captured.torn),
            too_long=captured.too_long,
            added=captured.added,
            prefetch=wish.prefetch,
        )
        record = await self._commit(record, stored, reliance, begun)
        self._healed |= wish.hurt
        return record

    async def _inherit(self, parent: Record) -> None:
        """Commit the tree that is continued, as it is: from then on this checkpoint keeps it."""
        repository = self._repository
        await check_ended(repository, parent)
        try:
            indexes = Indexes(await repository.indexes(parent))
        except NotThereError:
            raise ParentGoneError.of(parent.place) from None
        self.previous = parent
        self._base = parent.tree
        self._volume = (parent.volume + 1) % VOLUMES
        record = self._record(repository.clock.now(), parent.tree)
        reliance, begun = Reliance(parent), Stopwatch(repository.clock)
        try:
            await self._commit(record, indexes, reliance, begun)
            # Once more: now one of both records was there at any instant. A collection that lists
            # while one comes and the other goes, sees one.
            await look(repository, reliance, begun=begun)
        except PreviousGoneError:
            raise ParentGoneError.of(parent.place) from None

    def _record(self, created_at: datetime, tree: TreeField | None) -> Record:
        return Record(
            kind="generation",
            checkpoint_id=self._checkpoint_id,
            generation=self._next,
            run_number=self._run_number,
            writer=self._writer,
            created_at=created_at,
            parent=PlaceField.of(self.previous.place) if self.previous else None,
            image=self._image,
            tree=tree,
            volume=self._volume,
            base=self._base,
        )

    async def _commit(
        self, record: Record, indexes: Indexes, reliance: Reliance, begun: Stopwatch
    ) -> Record:
        fields = tuple(PlaceField.of(place) for place in indexes.found)
        record = msgspec.structs.replace(record, indexes=fields)
        record, looked = await commit(self._repository, record, reliance, begun=begun)
        self.previous, self._next = record, Generation(record.generation + 1)
        self._indexes = Indexes(indexes.found)
        if record.final:
            self._fenced = ended(self._checkpoint_id)
        if looked.is_late:
            await self._look_back(replace(reliance, previous=None), looked)
        return record

    async def _look_back(self, reliance: Reliance, looked: Stopwatch) -> None:
        """Raise DamagedError if a record came too late for what it relies on."""
        try:
            await look(self._repository, reliance, begun=looked)
        except IndexGoneError as error:
            self._indexes = self._indexes.with_lost(error.place)
            raise DamagedError(str(error)) from None
        except PacksGoneError as error:
            raise DamagedError(str(error)) from None

    async def _prepare(
        self, wish: Wish, banned: frozenset[PackId], *, is_trusted: bool
    ) -> tuple[Source, Known]:
        repository, previous = self._repository, self.previous
        moved = await repository.moved() if wish.changed != () else ()
        own = self._indexes
        chunks = ChunkSource(repository.storage, own.all, repository.moved, moved)
        ahead = Ahead(chunks, repository.nodes)

        def tree(field: TreeField | None) -> Tree | None:
            return Tree(field.root_id, ahead.fetch, repository.nodes) if field else None

        everything = Source(
            wish.folder, None, tree(self._base), self._volume, originals=wish.originals
        )
        if not is_trusted:
            return everything, Known()
        if self._others is None and wish.changed != ():
            self._others = await index_of_others(repository, self._checkpoint_id, banned=banned)
        known = Known(own.all, moved=moved, others=self._others, banned=banned | own.forgotten)
        if previous is None or wish.hurt:
            return everything, known
        before, since = tree(previous.tree), previous.created_at
        changed = None if previous.too_long else wish.changed  # all that are too long are counted
        source = replace(everything, before=before, since=since, changed=changed, ahead=ahead)
        return source, known

    async def _capture(
        self, source: Source, known: Known, progress: Callable[[Progress], None] | None
    ) -> Captured:
        repository = self._repository
        capture = Capture(
            source,
            parameters=repository.parameters,
            known=known,
            nodes=repository.nodes,
            uploads=Uploads(repository.storage),
            rng=repository.rng,
            progress=progress,
        )
        try:
            return await capture.run_in_thread()
        finally:
            for pack in capture.packs:
                self._packs[pack.pack_id] = WrittenPack(pack, self._next)
