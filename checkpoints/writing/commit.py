"""Commits a generation: packs and index are stored, now its record.

Nothing before the record is seen by anybody, so a writer may stop anywhere. The record's name is
the number after the last one: whoever else wants to go on from there, or to seal, wants the same
name, and one has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.format import names, record as record_format
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import GENERATION_MAX, Generation
from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageError
from checkpoints.writing.reliance import look

if TYPE_CHECKING:
    import random

    from checkpoints.format.ids import CheckpointId
    from checkpoints.format.record import Record
    from checkpoints.repository import Records, Repository
    from checkpoints.writing.reliance import Reliance, Stopwatch

WRITER_DIGITS = 16


class FencedError(Exception):
    """Another run has taken the checkpoint over: this one must not write to it ever again."""


def check_fence(records: Records, checkpoint_id: CheckpointId, run_number: int) -> None:
    """Raise FencedError if a run must not write to a checkpoint with these records."""
    for record in records.found:
        if record.kind == "seal" or record.run_number > run_number:
            raise FencedError(_sentence(checkpoint_id, record))
        if record.final:
            raise FencedError(ended(checkpoint_id))


def ended(checkpoint_id: CheckpointId) -> str:
    """Return the sentence about one that has its final generation."""
    return f"Checkpoint {checkpoint_id} has its final generation: continue it under another id."


def new_writer(rng: random.Random) -> str:
    """Return 16 random digits."""
    return rng.randbytes(WRITER_DIGITS // 2).hex()


async def commit(
    repository: Repository, record: Record, reliance: Reliance, *, begun: Stopwatch
) -> tuple[Record, Stopwatch]:
    """Commit if all that is relied on is there; return the record as stored, and since when.

    Raises as `look` and `put_record` do; FencedError even if the record is there by now: somebody
    else was here meanwhile, and theirs are the later ones.
    """
    checkpoint_id, writer = record.checkpoint_id, record.writer
    number = await next_number(repository, checkpoint_id, record.generation, writer)
    while True:
        record = msgspec.structs.replace(record, generation=number)
        number = Generation(number + 1)
        looked = await look(repository, reliance, begun=begun)  # and then nothing but the creation
        if await put_record(repository, record):
            await next_number(repository, checkpoint_id, number, writer)
            return record, looked


async def next_number(
    repository: Repository, checkpoint_id: CheckpointId, expected: Generation, writer: str
) -> Generation:
    """Return the number that this writer's next record has: the one expected, or a later one.

    A later one if an earlier record of its own is there whose answer was lost. Numbers fence only
    while their record exists, and whoever took over may have deleted some: so it is the highest
    that counts. Raises FencedError if that is another's.
    """
    newest = next(iter(await repository.places(checkpoint_id)), None)
    if newest is None or newest.generation < expected:
        return expected
    try:
        found = await repository.record(newest)
    except DamagedError as error:
        raise FencedError(f"{error}: nobody knows whose record it is.") from None
    except NotThereError:
        return await next_number(repository, checkpoint_id, expected, writer)
    if found.writer != writer:
        raise FencedError(_sentence(checkpoint_id, found))
    return Generation(newest.generation + 1)


async def put_record(repository: Repository, record: Record) -> bool:
    """Create a record; return whether it is there. Raises FencedError, StorageError.

    An earlier one of the same writer may have its name: its answer was lost, and it was given up,
    but it came. Then this one has to be the next.
    """
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
        return True
    else:
        return True
    found = await repository.record(record.place)
    if found.writer != record.writer:
        raise FencedError(_sentence(record.checkpoint_id, found))
    return found == record


async def _is_there(repository: Repository, key: str, data: bytes) -> bool:
    try:
        return await repository.storage.get(key) == data
    except StorageError:
        return False


def _sentence(checkpoint_id: CheckpointId, found: Record) -> str:
    what = "sealed by" if found.kind == "seal" else "written to by"
    return f"Checkpoint {checkpoint_id} was {what} run {found.run_number}."
