"""**Start here:** what a work directory holds of checkpoints, and how to read it.

    repository ─ records(checkpoint) ─ record ─ chunks(record) ─ tree(record)

All is asynchronous at this edge; what takes time is done in threads. An object that is not what was
written raises `DamagedObjectError`, which has its name; what isn't there any more, because somebody
deleted it meanwhile, raises `NotThereError`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from checkpoints.chunk_source import ChunkSource
from checkpoints.format import names, parameters as parameters_format, record as record_format
from checkpoints.format.damage import DamagedError, DamagedObjectError
from checkpoints.format.index import Index, name_of, name_of_moved
from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageBrokenError
from checkpoints.storage.probe import probe
from checkpoints.tree.cache import NodeCache
from checkpoints.tree.tree import Tree
from common.tasks import first_of

if TYPE_CHECKING:
    import random
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from checkpoints.format.ids import CheckpointId, PackId
    from checkpoints.format.index import IndexName
    from checkpoints.format.names import Place
    from checkpoints.format.parameters import Parameters
    from checkpoints.format.record import Record
    from checkpoints.storage.storage import Storage
    from common.clock import Clock

RECORDS_AT_ONCE = 8
"""Read concurrently: they are small, and a bucket takes its time for each."""

_log = structlog.get_logger()


class NoRepositoryError(Exception):
    """The work directory holds no checkpoints. The text is a sentence."""


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one checkpoint."""

    found: tuple[Record, ...]
    """Newest first: generations and seals."""
    damaged: tuple[DamagedObjectError, ...]
    """Those that can't be understood, newest first; they cost only what they would have said."""
    last: int
    """The highest number that there was, of a record of any kind; 0 if there was none."""

    @property
    def is_deleted(self) -> bool:
        """Whether somebody deleted the checkpoint, though not all of it may be gone."""
        return any(record.deleted for record in self.found)

    @property
    def generations(self) -> tuple[Record, ...]:
        """Those that have a tree, newest first; none of a checkpoint that is deleted."""
        if self.is_deleted:
            return ()
        return tuple(record for record in self.found if record.tree is not None)

    @property
    def newest(self) -> Record | None:
        """The last generation that was committed and can be read."""
        return next(iter(self.generations), None)


class Repository:
    """What `.studios/checkpoints/` of one work directory holds."""

    def __init__(
        self, storage: Storage, parameters: Parameters, *, clock: Clock, rng: random.Random
    ) -> None:
        self.storage = storage
        self.parameters = parameters
        self.clock = clock
        self.rng = rng
        self.nodes = NodeCache()
        """Of all trees that are read from here."""
        self._moved: dict[PackId, Index] = {}

    @classmethod
    async def open(
        cls,
        storage: Storage,
        *,
        create: bool = False,
        single_writer: bool = False,
        clock: Clock,
        rng: random.Random,
    ) -> Repository:
        """Return the repository that is there; with `create`, lay it down if there is none.

        Then the store is asked first whether it can be relied on: see `probe`. Raises
        NoRepositoryError, UnknownFormatError, DamagedObjectError, StorageError.
        """
        try:
            data = await storage.get(names.FORMAT)
        except NotThereError:
            if not create:
                raise NoRepositoryError(
                    "There are no checkpoints in this work directory."
                ) from None
            await probe(storage, single_writer=single_writer)
            data = parameters_format.encode(parameters_format.Parameters())
            try:
                await storage.put_new(names.FORMAT, data)
            except AlreadyThereError:
                data = await storage.get(names.FORMAT)
        try:
            found = parameters_format.parse(data)
        except DamagedError as error:
            raise DamagedObjectError(names.FORMAT, str(error)) from None
        return cls(storage, found, clock=clock, rng=rng)

    async def checkpoints(self) -> Mapping[CheckpointId, Sequence[Place]]:
        """Return all checkpoints, and the places of their records, newest first."""
        found: dict[CheckpointId, list[Place]] = {}
        async for listed in self.storage.list(names.RECORDS):
            if (place := names.parse_record(listed.key)) is not None:
                found.setdefault(place.checkpoint_id, []).insert(0, place)
        return found

    async def places(self, checkpoint_id: CheckpointId) -> list[Place]:
        """Return the places of a checkpoint's records, newest first."""
        places = [
            place
            async for listed in self.storage.list(names.records_of(checkpoint_id))
            if (place := names.parse_record(listed.key)) is not None
        ]
        return places[::-1]

    async def records(self, checkpoint_id: CheckpointId) -> Records:
        """Return a checkpoint's records. Those that are deleted meanwhile are left out."""
        found: list[Record] = []
        damaged: list[DamagedObjectError] = []
        places = await self.places(checkpoint_id)
        for start in range(0, len(places), RECORDS_AT_ONCE):
            try:
                async with asyncio.TaskGroup() as group:
                    reads = [
                        group.create_task(self._record_or_damage(place))
                        for place in places[start : start + RECORDS_AT_ONCE]
                    ]
            except ExceptionGroup as errors:
                raise first_of(errors) from None
            for read in reads:
                result = read.result()
                if isinstance(result, DamagedObjectError):
                    damaged.append(result)
                elif result is not None:
                    found.append(result)
        last = places[0].generation if places else 0
        return Records(tuple(found), tuple(damaged), last)

    async def record(self, place: Place) -> Record:
        """Return one record. Raises NotThereError, DamagedObjectError."""
        key = names.record(place)
        for is_last in (False, True):
            try:
                return record_format.parse(await self.storage.get(key), place)
            except (DamagedError, StorageBrokenError) as error:
                if is_last:
                    raise DamagedObjectError(key, str(error)) from None
        raise AssertionError

    async def index(self, place: Place) -> Index:
        """Return one index. Raises NotThereError, DamagedObjectError."""
        return await self._index(names.index(place), name_of(place))

    async def moved_index(self, name: PackId) -> Index:
        """Return one list of moved chunks. Raises NotThereError, DamagedObjectError."""
        return await self._index(names.moved(name), name_of_moved(name))

    async def moved(self, *, strict: bool = False) -> tuple[Index, ...]:
        """Return where the chunks of rewritten packs are now; what was moved last comes first.

        One that is damaged costs only what it holds: it is left out with a warning, or if `strict`,
        raised as DamagedObjectError.
        """
        listed = [
            (found.modified, pack_id)
            async for found in self.storage.list(names.MOVED)
            if (pack_id := names.parse_moved(found.key)) is not None
        ]
        indexes: dict[PackId, Index] = {}
        for _, pack_id in sorted(listed, reverse=True):
            try:
                indexes[pack_id] = self._moved.get(pack_id) or await self.moved_index(pack_id)
            except NotThereError:
                continue
            except DamagedObjectError as error:
                if strict:
                    raise
                _log.warning("checkpoint_index_damaged", key=error.key, reason=error.problem)
        self._moved = indexes
        return tuple(indexes.values())

    async def tombstones(self) -> Mapping[PackId, datetime]:
        """Return the packs that are on their way out, and since when."""
        return {
            pack_id: listed.modified
            async for listed in self.storage.list(names.TOMBSTONES)
            if (pack_id := names.parse_tombstone(listed.key)) is not None
        }

    async def marks(self) -> Mapping[PackId, datetime]:
        """Return the packs that were found damaged, and since when that is known."""
        return {
            pack_id: listed.modified
            async for listed in self.storage.list(names.MARKS)
            if (pack_id := names.parse_mark(listed.key)) is not None
        }

    async def indexes(self, record: Record) -> Mapping[Place, Index]:
        """Return a record's indexes, in its order.

        Raises NotThereError if the record is gone by now, and DamagedObjectError.
        """
        places = [field.place for field in record.indexes]
        try:
            async with asyncio.TaskGroup() as group:
                reads = [group.create_task(self.index(place)) for place in places]
        except ExceptionGroup as errors:
            error = first_of(errors)
            if isinstance(error, NotThereError):
                await self.storage.size(names.record(record.place))  # goes before its indexes do
                raise DamagedObjectError(error.key, "is missing") from None
            raise error from None
        return {place: read.result() for place, read in zip(places, reads, strict=True)}

    async def chunks(self, record: Record) -> ChunkSource:
        """Return where all chunks of a record are read from. Fails as `indexes` does."""
        indexes = await self.indexes(record)
        return ChunkSource(self.storage, tuple(indexes.values()), self.moved, await self.moved())

    def tree(self, record: Record, chunks: ChunkSource) -> Tree:
        """Return a record's tree. It reads when it is asked, and only threads may ask."""
        assert record.tree is not None, "a seal has no tree"
        return Tree(record.tree.root_id, chunks.fetch, self.nodes)

    async def _record_or_damage(self, place: Place) -> Record | DamagedObjectError | None:
        try:
            return await self.record(place)
        except DamagedObjectError as damage:
            return damage
        except NotThereError:
            return None

    async def _index(self, key: str, expected: IndexName) -> Index:
        """Read an index, twice if it is wrong: what was spoilt may have been the answer only."""
        for is_last in (False, True):
            try:
                data = await self.storage.get(key)
                return await asyncio.to_thread(Index, data, expected)
            except (DamagedError, StorageBrokenError) as error:
                if is_last:
                    raise DamagedObjectError(key, str(error)) from None
        raise AssertionError
