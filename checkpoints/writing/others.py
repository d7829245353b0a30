"""What other checkpoints in the same work directory have stored, so that it isn't stored twice.

Only of checkpoints that nobody writes to any more: a running writer deletes what it doesn't need.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.format.index import Index, merged
from checkpoints.storage.failures import NotThereError
from checkpoints.writing.dedupe import OTHERS_BYTES_MAX
from checkpoints.writing.reliance import is_ended
from common.tasks import side_by_side

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from checkpoints.format.ids import CheckpointId, PackId
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

CHECKPOINTS_MAX = 32
"""The latest of them: each is some requests before the first write can begin."""
READS_AT_ONCE = 8
BYTES_A_CHUNK = 52

_log = structlog.get_logger()


async def index_of_others(
    repository: Repository, own: CheckpointId, *, banned: Collection[PackId] = ()
) -> Index:
    """Return one index of the checkpoints that were committed to last, up to so many bytes.

    What is damaged or gone meanwhile is left out: it is only not known then.
    """
    newest: dict[CheckpointId, tuple[datetime, Place]] = {}
    async for listed in repository.storage.list(names.RECORDS):
        place = names.parse_record(listed.key)
        if place is not None and place.checkpoint_id != own:
            newest[place.checkpoint_id] = (listed.modified, place)
    latest = [place for _, place in sorted(newest.values(), reverse=True)[:CHECKPOINTS_MAX]]
    records = [found for found in await _records(repository, latest) if found is not None]
    found: dict[Place, Index] = {}
    room = OTHERS_BYTES_MAX
    for record in records:
        if room <= 0:
            break
        for place, index in (await _indexes(repository, record, known=found)).items():
            if place not in found and len(index) * BYTES_A_CHUNK <= room:
                found[place] = index
                room -= len(index) * BYTES_A_CHUNK
    return await asyncio.to_thread(lambda: Index(merged(found.values(), without=banned)))


async def _records(repository: Repository, places: Sequence[Place]) -> list[Record | None]:
    found: list[Record | None] = [None] * len(places)

    async def read(number: int) -> None:
        try:
            found[number] = await _last(repository, places[number])
        except (DamagedError, NotThereError) as error:
            _log.info("checkpoint_not_shared", place=str(places[number]), reason=str(error))

    await side_by_side(range(len(places)), read, at_once=READS_AT_ONCE)
    return found


async def _last(repository: Repository, newest: Place) -> Record | None:
    """Return a checkpoint's last generation, if nobody writes to it any more."""
    record = await repository.record(newest)
    if not is_ended(record):
        return None
    if record.kind == "generation":
        return record
    return None if record.parent is None else await repository.record(record.parent.place)


async def _indexes(
    repository: Repository, record: Record, *, known: dict[Place, Index]
) -> dict[Place, Index]:
    if all(field.place in known for field in record.indexes):
        return {}
    try:
        return dict(await repository.indexes(record))
    except (DamagedError, NotThereError) as error:
        _log.info("checkpoint_not_shared", place=str(record.place), reason=str(error))
        return {}
