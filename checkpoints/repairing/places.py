"""Where chunks are by the packs' own tables, whatever indexes say.

Not everything that is there may be made known to everybody: a running writer's packs are its own,
and it deletes them when it doesn't need them. Those are what the indexes of a checkpoint that is
being written list, and no other index; and what no index lists, as long as it is young.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from checkpoints.collecting.tables import read_table
from checkpoints.format.damage import DamagedError
from checkpoints.format.index import ChunkPlace, Index, IndexBuilder, PackFacts
from checkpoints.storage.failures import NotThereError, StorageBrokenError
from common.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from checkpoints.collecting.listing import ListedPack
    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.pack import PackEntry
    from checkpoints.repository import Repository

READS_AT_ONCE = 8
YOUNG_AGE = timedelta(hours=24)
"""A first write takes hours, and until it ends no index lists its packs."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Owners:
    """Who lists packs."""

    shared: Collection[PackId]
    """By indexes that everybody may use, or that a collection wrote."""
    running: Collection[PackId]
    """By those of checkpoints that are being written."""
    is_complete: bool
    """Or one of these can't be read, and its packs seem to be nobody's."""


@dataclass(frozen=True, slots=True)
class Places:
    """Chunks that are whole, by who may be told where they are."""

    shared: Index
    """Everybody."""
    young: Index
    """The generation alone that needs them: they may be of an index that is lost, or of a write
    that is under way."""
    withheld: Index
    """Nobody: their writers may delete them."""
    unlisted: Index
    """Those of the first two that are in packs that no index lists."""


async def find_places(
    repository: Repository,
    packs: Mapping[PackId, ListedPack],
    owners: Owners,
    *,
    bad: Mapping[PackId, Collection[ChunkId]],
    now: datetime,
) -> Places:
    """Return what the tables of all packs say, without chunks that are known to be bad.

    Of a chunk in several packs it is the oldest that counts, and one with a tombstone or a mark
    only if there is no other. Raises StorageError.
    """
    unfit = {**await repository.tombstones(), **await repository.marks()}
    ordered = sorted(packs, key=lambda each: (each in unfit, packs[each].modified, each))
    builders = {name: IndexBuilder() for name in ("shared", "young", "withheld", "unlisted")}
    for start in range(0, len(ordered), READS_AT_ONCE):
        some = ordered[start : start + READS_AT_ONCE]
        for pack_id, table in zip(some, await _tables(repository, packs, some), strict=True):
            facts = PackFacts(pack_id, packs[pack_id].kind, packs[pack_id].object_bytes)
            to = [builders[name] for name in _who(pack_id, owners, now - packs[pack_id].modified)]
            for entry in table:
                if entry.chunk_id in bad.get(pack_id, ()):
                    continue
                place = ChunkPlace(
                    facts, entry.offset, entry.stored_bytes, entry.raw_bytes, entry.codec
                )
                for builder in to:
                    builder.add(entry.chunk_id, place)
    return Places(*[await asyncio.to_thread(_made, each) for each in builders.values()])


def _who(pack_id: PackId, owners: Owners, age: timedelta) -> tuple[str, ...]:
    """Return which of the `Places` have what is in a pack."""
    if pack_id in owners.shared:
        return ("shared",)
    if pack_id in owners.running:
        return ("withheld",)
    is_old = owners.is_complete and age >= YOUNG_AGE
    return ("shared" if is_old else "young", "unlisted")


def _made(builder: IndexBuilder) -> Index:
    return Index(builder.finish())


async def _tables(
    repository: Repository, packs: Mapping[PackId, ListedPack], some: Sequence[PackId]
) -> list[Sequence[PackEntry]]:
    tables: list[Sequence[PackEntry]] = [()] * len(some)

    async def read(number: int) -> None:
        pack_id = some[number]
        try:
            tables[number] = await read_table(repository.storage, packs[pack_id].kind, pack_id)
        except NotThereError:
            return  # deleted meanwhile
        except (DamagedError, StorageBrokenError) as error:
            _log.info("checkpoint_table_damaged", pack=pack_id.hex(), reason=str(error))

    await side_by_side(range(len(some)), read, at_once=READS_AT_ONCE)
    return tables
