"""What other checkpoints in the same work directory have stored, so that it isn't stored twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import NotThereError
from checkpoints.writing.dedupe import OTHERS_BYTES_MAX

if TYPE_CHECKING:
    from datetime import datetime

    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.index import Index
    from checkpoints.format.names import Place
    from checkpoints.repository import Repository

CHECKPOINTS_MAX = 32
"""The latest of them: each is some requests before the first write can begin."""
BYTES_A_CHUNK = 52

_log = structlog.get_logger()


async def indexes_of_others(repository: Repository, own: CheckpointId) -> tuple[Index, ...]:
    """Return indexes of the generations that were committed last, up to so many bytes.

    What is damaged or gone meanwhile is left out: it is only not known then.
    """
    newest: dict[CheckpointId, tuple[datetime, Place]] = {}
    async for listed in repository.storage.list(names.RECORDS):
        place = names.parse_record(listed.key)
        if place is not None and place.checkpoint_id != own:
            newest[place.checkpoint_id] = (listed.modified, place)
    found: dict[Place, Index] = {}
    room = OTHERS_BYTES_MAX
    for _, place in sorted(newest.values(), reverse=True)[:CHECKPOINTS_MAX]:
        for index_place, index in (await _indexes(repository, place)).items():
            if index_place not in found and len(index) * BYTES_A_CHUNK <= room:
                found[index_place] = index
                room -= len(index) * BYTES_A_CHUNK
    return tuple(found.values())


async def _indexes(repository: Repository, place: Place) -> dict[Place, Index]:
    try:
        record = await repository.record(place)
        if record.kind == "seal" and record.parent is not None:
            record = await repository.record(record.parent.place)
        return dict(await repository.indexes(record))
    except (DamagedError, NotThereError) as error:
        _log.info("checkpoint_not_shared", place=str(place), reason=str(error))
        return {}
