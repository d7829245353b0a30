"""What is stored, as listings show it; and what time it is there."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from checkpoints.format import collection as collection_format, mark as mark_format, names
from checkpoints.format.collection import Findings
from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    NotThereError,
    StorageUnfitError,
)
from checkpoints.storage.probe import PROBES

if TYPE_CHECKING:
    import random
    from collections.abc import Collection, Iterable
    from datetime import datetime, timedelta

    from checkpoints.format.ids import ChunkId, PackId
    from checkpoints.format.index import Index
    from checkpoints.format.names import Place
    from checkpoints.format.pack import PackKind
    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Listed, Storage

PROBES_MAX = 3
"""One may have been tidied up by another collection, if the machine slept for two days."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class ListedPack:
    """A pack that is there."""

    kind: PackKind
    object_bytes: int
    modified: datetime


async def store_time(storage: Storage, rng: random.Random) -> datetime:
    """Return what time it is by the store's clock: that of an object which is created for it.

    The collector's own clock may be wrong by days, and an hour would be enough to lose data.
    """
    for _ in range(PROBES_MAX):
        key = f"{PROBES}{rng.randbytes(16).hex()}"
        try:
            await storage.put_new(key, b"what time is it?\n")
        except AlreadyThereError:
            continue  # its own, that came late and was removed as an old one meanwhile
        try:
            times = [found.modified async for found in storage.list(PROBES) if found.key == key]
        finally:
            try:
                await storage.delete(key)
            except NotPermittedError as error:
                _log.info("collection_probe_left", key=key, reason=str(error))
        if times:
            return times[0]
    raise StorageUnfitError("The store doesn't list what was just created.", key=PROBES)


async def list_records(storage: Storage) -> dict[Place, datetime]:
    """Return the places of all records."""
    return {
        place: listed.modified
        async for listed in storage.list(names.RECORDS)
        if (place := names.parse_record(listed.key)) is not None
    }


async def list_packs(storage: Storage) -> dict[PackId, ListedPack]:
    found: dict[PackId, ListedPack] = {}
    for prefix in names.PACKS.values():
        async for listed in storage.list(prefix):
            if (pack := names.parse_pack(listed.key)) is not None:
                found[pack[1]] = ListedPack(pack[0], listed.size, listed.modified)
    return found


async def list_indexes(storage: Storage) -> dict[str, Listed]:
    """Return all indexes by name: those of generations, and moved ones."""
    return {
        listed.key: listed
        async for listed in storage.list(names.INDEXES)
        if names.parse_index(listed.key) or names.parse_moved(listed.key)
    }


async def list_collections(storage: Storage) -> dict[str, datetime]:
    """Return the names of earlier collections, and when they had found what they found."""
    return {
        listed.key: listed.modified
        async for listed in storage.list(names.COLLECTIONS)
        if names.parse_collection(listed.key) is not None
    }


async def list_probes(storage: Storage) -> dict[str, datetime]:
    """Return what was created to ask for the time, or for a store's abilities, and not deleted."""
    return {listed.key: listed.modified async for listed in storage.list(PROBES)}


async def findings_before(
    storage: Storage, collections: dict[str, datetime], began: datetime, apart: timedelta
) -> tuple[Findings, str]:
    """Return what the latest collection found that ended long enough before; and what is wrong."""
    times = sorted(
        ((modified, key) for key, modified in collections.items() if began - modified >= apart),
        reverse=True,
    )
    problem = ""
    for _, key in times:
        try:
            data = await storage.get(key)
            return await asyncio.to_thread(collection_format.parse, data), problem
        except NotThereError:
            continue  # another collection has tidied up
        except DamagedError as error:
            problem = f"{key}: {error}"
    return Findings(), problem


async def read_marks(
    storage: Storage, packs: Iterable[PackId]
) -> dict[PackId, Collection[ChunkId]]:
    """Return which chunks of packs with a mark can't be read, as far as that is known."""
    found: dict[PackId, Collection[ChunkId]] = {}
    for pack_id in packs:
        try:
            data = await storage.get(names.mark(pack_id))
            found[pack_id] = await asyncio.to_thread(mark_format.parse, data)
        except NotThereError:
            continue  # it went with its pack
        except DamagedError as error:
            _log.warning("collection_mark_damaged", pack=pack_id.hex(), reason=str(error))
            found[pack_id] = frozenset()  # that it is there is what counts
    return found


async def read_moved(repository: Repository, indexes: dict[str, Listed]) -> dict[str, Index]:
    """Return where the chunks of rewritten packs are now, by name; the latest first.

    Raises DamagedObjectError: without them nobody can say which packs are needed.
    """
    listed = [
        (found.modified, pack_id, key)
        for key, found in indexes.items()
        if (pack_id := names.parse_moved(key)) is not None
    ]
    moved: dict[str, Index] = {}
    for _, pack_id, key in sorted(listed, reverse=True):
        try:
            moved[key] = await repository.moved_index(pack_id)
        except NotThereError:
            continue
    return moved
