"""The process that deletes what people deleted, and collects what only that needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.format.damage import DamagedError
from checkpoints.format.parameters import UnknownFormatError
from checkpoints.repository import NoRepositoryError, Repository
from checkpoints.storage.failures import LocationError, StorageError
from checkpoints.writing.commit import FencedError
from common.messages import CheckpointPhase, CheckpointStatus
from control_plane import storage_worker
from control_plane.collecting_messages import (
    Collect,
    Delete,
    Deleted,
    Done,
    Failed,
    LookedUp,
    LookUp,
    Result,
    Task,
    decode_task,
)

if TYPE_CHECKING:
    from checkpoints.collecting.settings import Settings
    from checkpoints.format.ids import CheckpointId
    from checkpoints.repository import Records

_EXPECTED = (
    NoRepositoryError, DamagedError, StorageError, LocationError, UnknownFormatError, FencedError,
    OSError,
)  # fmt: skip


async def carry_out(
    opened: Repository | Exception, task: Task, settings: Settings | None = None
) -> Result:
    """Do one task; whatever goes wrong that can is a result, too."""
    if isinstance(opened, NoRepositoryError):
        return _without_repository(opened, task)
    if isinstance(opened, Exception):
        return Failed(sentence=sentence(opened))
    try:
        match task:
            case Delete():
                # no run of it is left, and if one were, the seal that is made would end it
                deleted = await delete_checkpoint(opened, task.checkpoint_id, even_if_written=True)
                return Deleted(
                    records=deleted.records, refused=deleted.refused, refusal=deleted.refusal
                )
            case LookUp():
                records = await opened.records(task.checkpoint_id)
                return LookedUp(found=newest(task.checkpoint_id, records))
            case Collect():
                return Done(outcome=await collect(opened, settings))
            case _:
                assert_never(task)
    except _EXPECTED as error:
        return Failed(sentence=sentence(error))


def newest(checkpoint_id: CheckpointId, records: Records) -> CheckpointStatus | None:
    """Return what an agent would say of a checkpoint's newest generation. Pure.

    Raises DamagedObjectError if a later one may be among those that can't be read.
    """
    if records.damaged:
        raise records.damaged[0]
    found = records.newest
    if found is None or found.tree is None:
        return None
    return CheckpointStatus(
        id=checkpoint_id,
        phase=CheckpointPhase.FINALIZED if found.final else CheckpointPhase.INTERIM,
        generation=found.generation,
        committed_at=found.created_at,
        entries=found.tree.entries,
        file_bytes=found.tree.bytes,
        stored_bytes=sum(record.added.stored_bytes for record in records.generations),
        torn_files=found.torn,
        image=found.image,
        parent_id=found.parent.checkpoint_id if found.parent is not None else None,
    )


def sentence(error: Exception) -> str:
    """Return what is said of an expected failure. Pure."""
    if isinstance(error, OSError):
        return f"{error.strerror or error}."
    text = str(error)
    return text if text.endswith(".") else f"{text}."


def _without_repository(error: NoRepositoryError, task: Task) -> Result:
    match task:
        case Delete(is_saved=False):
            return Deleted(records=0, refused=0, refusal="")
        case Collect():
            return Done(outcome=None)
        case Delete() | LookUp():
            return Failed(
                sentence=f"{sentence(error)} Something was saved there: mount what it was saved "
                "to, or correct its address."
            )
        case _:
            assert_never(task)


async def _serve(pipes: storage_worker.Pipes, opened: Repository | Exception) -> None:
    if isinstance(opened, Exception) and not isinstance(opened, _EXPECTED):
        raise opened
    while True:
        await pipes.tell(await carry_out(opened, decode_task(await pipes.next())))


def main() -> None:
    storage_worker.run("studios-collecting", _serve)
