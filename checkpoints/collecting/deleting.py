"""Deletes a checkpoint: what only it needed is collected later.

It is sealed first, so that nobody commits under it any more. The seal says that it is deleted, so
that nobody reads it any more: a writer that was held up before its commit may find the name of a
deleted generation free.
Seals stay: their numbers fence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from checkpoints.collecting.busy import StillWrittenError
from checkpoints.collecting.removal import Removal
from checkpoints.format import names
from checkpoints.writing.reliance import is_ended
from checkpoints.writing.sealing import seal

if TYPE_CHECKING:
    from checkpoints.format.ids import CheckpointId
    from checkpoints.repository import Repository

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of a checkpoint's records."""

    records: int
    refused: int
    refusal: str


async def delete_checkpoint(
    repository: Repository, checkpoint_id: CheckpointId, *, even_if_written: bool = False
) -> Deleted:
    """Delete all that a checkpoint is known by, but for seals. Idempotent; StorageError.

    Raises StillWrittenError if its newest record is neither final nor a seal, unless it is to be
    deleted even so: then whoever writes to it can't commit any more.
    """
    records = await repository.records(checkpoint_id)
    newest = next(iter(records.found), None)
    if newest is None and not records.damaged:
        return Deleted(records=0, refused=0, refusal="")
    if not even_if_written and (newest is None or not is_ended(newest)):
        raise StillWrittenError([checkpoint_id])
    if not records.is_deleted:
        run_number = max((record.run_number for record in records.found), default=0)
        await seal(repository, checkpoint_id, run_number=run_number, deletes=True)
        records = await repository.records(checkpoint_id)
    keys = [names.record(record.place) for record in records.found if record.tree is not None]
    keys += [damage.key for damage in records.damaged]
    removal = Removal(repository.storage)
    count = 0
    for key in sorted(keys):  # oldest first
        count += await removal.delete(key)
    _log.info("checkpoint_deleted", checkpoint=checkpoint_id, records=count)
    return Deleted(records=count, refused=removal.refused, refusal=removal.refusal)
