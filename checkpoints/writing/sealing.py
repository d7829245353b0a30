"""Seals a checkpoint: whoever wrote it before, can't commit under it any more.

The seal takes the name of the generation that its writer would commit next. Creating if absent lets
one of both have it: either that generation is there before the seal, and is what a restore begins
with, or its writer meets the seal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from checkpoints.format import names, record as record_format
from checkpoints.format.ids import Generation
from checkpoints.format.names import Place
from checkpoints.format.record import PlaceField, Record
from checkpoints.storage.failures import AlreadyThereError
from checkpoints.writing.commit import FencedError, new_writer

if TYPE_CHECKING:
    from checkpoints.format.ids import CheckpointId
    from checkpoints.repository import Repository

TRIES_MAX = 100
"""Each is lost to a generation that was committed meanwhile, which takes its writer seconds."""

_log = structlog.get_logger()


async def seal(
    repository: Repository, checkpoint_id: CheckpointId, *, run_number: int, deletes: bool = False
) -> Record | None:
    """Seal a checkpoint for a run, and return the last generation before; None if there is none.

    A seal that `deletes` lets nobody read any of it any more. Idempotent for the same run. Raises
    FencedError if a higher run has sealed it or written to it.
    """
    for _ in range(TRIES_MAX):
        records = await repository.records(checkpoint_id)
        if any(record.run_number > run_number for record in records.found):
            raise FencedError(f"Checkpoint {checkpoint_id} was taken over by a later run.")
        newest = next(iter(records.found), None)
        is_sealed = newest is not None and newest.kind == "seal" and newest.run_number == run_number
        if is_sealed and (records.is_deleted or not deletes):
            return records.newest
        # Of the same listing, so that whatever came since is met.
        place = Place(checkpoint_id, Generation(records.last + 1))
        record = Record(
            kind="seal",
            checkpoint_id=checkpoint_id,
            generation=place.generation,
            run_number=run_number,
            writer=new_writer(repository.rng),
            created_at=repository.clock.now(),
            deleted=deletes,
            parent=PlaceField.of(records.newest.place) if records.newest else None,
        )
        try:
            await repository.storage.put_new(names.record(place), record_format.encode(record))
        except AlreadyThereError:
            continue
        # Once more: a generation may have come between the listing and the seal. And numbers fence
        # only while nothing higher is there: whoever was held up may have met the place of one
        # that came, and was deleted because many more have come.
        records = await repository.records(checkpoint_id)
        if records.last > place.generation:
            continue
        _log.info("checkpoint_sealed", checkpoint=checkpoint_id, generation=place.generation)
        return records.newest
    raise FencedError(f"Checkpoint {checkpoint_id} is being written to by another run.")
