"""Commits a generation: packs are stored, now its index, then its record.

Nothing before the record is seen by anybody, so a writer may stop anywhere. The record's name is
the number after the last one: whoever else wants to go on from there, or to seal, wants the same
name, and one has it. An index only needs a name that is free.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format import names, record as record_format
from checkpoints.format.ids import GENERATION_MAX, Generation
from checkpoints.format.names import Place
from checkpoints.format.record import INDEXES_MAX
from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping

    from checkpoints.format.ids import CheckpointId, PackId
    from checkpoints.format.index import Index, PackFacts
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

MERGED_TO = INDEXES_MAX // 2
"""When there are too many indexes, the smallest become one, until so many are left: then there is
room for as many generations again, and each chunk is copied a few times in all."""
INDEX_NAMES_TRIED_MAX = 100
WRITER_DIGITS = 16
CHECKS_AT_ONCE = 8


class FencedError(Exception):
    """Another run has taken the checkpoint over: this one must not write to it ever again."""


class PacksGoneError(Exception):
    """Packs that were relied on are on their way out: their chunks have to be stored again."""

    def __init__(self, packs: frozenset[PackId]) -> None:
        super().__init__(f"{len(packs)} packs are on their way out")
        self.packs = packs


def new_writer(rng: random.Random) -> str:
    """Return 16 random digits."""
    return rng.randbytes(WRITER_DIGITS // 2).hex()


def to_merge(indexes: Mapping[Place, Index]) -> list[Place]:
    """Return which indexes go into the new one, so that a record needn't name too many."""
    if len(indexes) < INDEXES_MAX:
        return []
    by_size = sorted(indexes, key=lambda place: len(indexes[place]))
    return by_size[: len(indexes) - MERGED_TO + 1]


async def tombstones(repository: Repository) -> frozenset[PackId]:
    """Return the packs that are on their way out."""
    return frozenset(
        [
            pack_id
            async for listed in repository.storage.list(names.TOMBSTONES)
            if (pack_id := names.parse_tombstone(listed.key)) is not None
        ]
    )


async def check_packs(repository: Repository, packs: Iterable[PackFacts]) -> None:
    """Raise PacksGoneError if some have a tombstone, or are not there.

    Those that pass stay for as long as a tombstone stands at least before its pack goes.
    """
    relied_on = {pack.pack_id: pack for pack in packs}
    if not relied_on:
        return
    gone = set(await tombstones(repository)) & relied_on.keys()
    waiting = iter([pack for pack_id, pack in relied_on.items() if pack_id not in gone])

    async def check() -> None:
        for pack in waiting:
            try:
                size = await repository.storage.size(names.pack(pack.kind, pack.pack_id))
            except NotThereError:
                size = -1
            if size != pack.object_bytes:
                gone.add(pack.pack_id)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(CHECKS_AT_ONCE):
                group.create_task(check())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    if gone:
        raise PacksGoneError(frozenset(gone))


async def put_index(repository: Repository, first: Place, data: bytes) -> Place:
    """Store an index under the first free name, beginning with a generation's own."""
    for number in range(first.generation, first.generation + INDEX_NAMES_TRIED_MAX):
        place = Place(first.checkpoint_id, Generation(number))
        try:
            await repository.storage.put_new(names.index(place), data)
        except AlreadyThereError:
            continue  # of a writer that stopped before its record
        return place
    raise AssertionError(f"the names of {INDEX_NAMES_TRIED_MAX} indexes from {first} on are taken")


async def put_record(repository: Repository, record: Record) -> Record:
    """Commit, and return the record as it is stored. Raises FencedError, StorageError.

    An earlier record of the same writer may be there under the name: its answer was lost, and it
    was given up, but it came. Then this one is the next.
    """
    while True:
        assert record.generation <= GENERATION_MAX
        key = names.record(record.place)
        data = record_format.encode(record)
        try:
            await repository.storage.put_new(key, data)
        except AlreadyThereError:
            pass
        except StorageError as error:
            if not error.retry_helps or not await _is_there(repository, key, data):
                raise
            return record
        else:
            return record
        found = await repository.record(record.place)
        if found.writer != record.writer:
            raise FencedError(_sentence(record.checkpoint_id, found))
        if found == record:
            return record
        record = msgspec.structs.replace(record, generation=Generation(record.generation + 1))


async def _is_there(repository: Repository, key: str, data: bytes) -> bool:
    try:
        return await repository.storage.get(key) == data
    except StorageError:
        return False


def _sentence(checkpoint_id: CheckpointId, found: Record) -> str:
    what = "sealed by" if found.kind == "seal" else "written to by"
    return f"Checkpoint {checkpoint_id} was {what} run {found.run_number}."
