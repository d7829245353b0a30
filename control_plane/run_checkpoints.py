"""A run's checkpoint in the database: opened with the run, then as its agent says.

The database may be a restored backup: it doesn't know the checkpoints of runs that began since, and
knows old states of others. So what an agent reports of a checkpoint that nobody knows becomes one:
its files are there, and somebody's work.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

from checkpoints.format.ids import CheckpointId, new_checkpoint_id, parse_checkpoint_id
from common.ids import RunNumber
from common.session_spec import CheckpointSpec
from control_plane.checkpoint_life import advanced, is_news, leftovers, may_be_saved
from control_plane.checkpoint_names import first_name
from control_plane.errors import ConflictError
from control_plane.model_checkpoints import Checkpoint

if TYPE_CHECKING:
    from datetime import datetime

    from common.messages import CheckpointStatus, StatusReport
    from control_plane.changes import ChangeSet
    from control_plane.model import PersonName, Studio
    from control_plane.store import Transaction

OF_A_RUN_MAX = 3
"""A run has one checkpoint, and a restored backup may bring a second; reports of an agent gone
wrong make no more."""

_rng = random.SystemRandom()


# ── Starting ─────────────────────────────────────────────────────────────────


async def open_checkpoint(
    changes: ChangeSet, studio: Studio, *, author: PersonName, heard: bool, now: datetime
) -> None:
    """Write down what the run that just began saves, and what it begins with.

    `studio` has the new run's number already, and its row is locked; `heard`: whether the agent of
    the run before it ever reported.
    """
    table = changes.transaction.checkpoints
    unsaved = await table.unsaved(studio.session_id)
    for leftover in leftovers(unsaved, opening=studio.run_number, heard=heard):
        await table.remove(leftover.id)
    opened = await _new(changes.transaction, studio, studio.run_number, author=author, now=now)
    parent = await table.newest_saved(studio.session_id)
    parent = parent or await _initial(changes.transaction, studio)
    if parent is not None:
        opened = msgspec.structs.replace(
            opened,
            parent_id=parent.id,
            parent_run_number=await _sealing_number(changes.transaction, studio, parent),
        )
    await table.insert(opened)


async def checkpoint_spec(transaction: Transaction, studio: Studio) -> CheckpointSpec | None:
    """What the newest run's agent is told: the same whenever it is asked."""
    checkpoint = await transaction.checkpoints.of_run(studio.session_id, studio.run_number)
    if checkpoint is None:  # begun by a version that saved nothing
        return None
    parent = await transaction.checkpoints.parent_of(checkpoint)
    return CheckpointSpec(
        id=checkpoint.storage_id,
        parent_id=parent.storage_id if parent is not None else None,
        parent_run_number=checkpoint.parent_run_number,
        # the agent finds out: on this engine the root is the machine's own
        image="",
    )


async def _initial(transaction: Transaction, studio: Studio) -> Checkpoint | None:
    if studio.parent_checkpoint is None:
        return None
    initial = await transaction.checkpoints.behind(studio.parent_checkpoint.checkpoint_id)
    if initial is None:  # never begin with nothing where there should be files
        raise ConflictError(
            "The checkpoint that this Studio was added from is gone: add another Studio."
        )
    return initial


async def _sealing_number(
    transaction: Transaction, studio: Studio, parent: Checkpoint
) -> RunNumber | None:
    if parent.session_id == studio.session_id:
        return None
    other = await transaction.studio(parent.session_id)
    return max(other.run_number, parent.run_number) if other is not None else parent.run_number


async def _new(
    transaction: Transaction,
    studio: Studio,
    run: RunNumber,
    *,
    author: PersonName,
    now: datetime,
    storage_id: CheckpointId | None = None,
) -> Checkpoint:
    env = await transaction.compute_env(studio.compute_env_id)
    return Checkpoint(
        storage_id=storage_id or new_checkpoint_id(_rng),
        session_id=studio.session_id,
        name=first_name(studio.name, now, await transaction.checkpoints.names(studio.session_id)),
        author=author,
        run_number=run,
        compute_env_id=env.id,
        work_dir=env.work_dir,
        date_created=now,
    )


# ── What storage says ────────────────────────────────────────────────────────


async def look_up(
    changes: ChangeSet, checkpoint: Checkpoint, found: CheckpointStatus | None, now: datetime
) -> None:
    """Take in what there is in storage of a checkpoint whose run is over; None is nothing."""
    table = changes.transaction.checkpoints
    await changes.transaction.studio(checkpoint.session_id, lock=True)
    before = await table.find(checkpoint.id, lock=True)
    if before is None:
        return
    if found is not None:
        after = advanced(before, found, now)
        if not is_news(before, after):
            return
        await table.save(after, before=before)
    elif before.generation or may_be_saved(before, await table.newest_saved(before.session_id)):
        return
    else:
        await table.remove(before.id)
    changes.tell(before.session_id)


# ── What agents say ──────────────────────────────────────────────────────────


async def hear_of_checkpoints(
    changes: ChangeSet, studio: Studio, report: StatusReport, now: datetime
) -> None:
    """Take in what a report says of checkpoints; `studio` is as it is after the report, locked.

    A run speaks of its own, and of those of runs before it. Of any other it has no say.
    """
    run = report.run_number
    if report.earlier_checkpoint is not None:
        await _hear(changes, studio, report.earlier_checkpoint, now, runs=range(run))
    if report.checkpoint is not None:
        await _hear(changes, studio, report.checkpoint, now, runs=range(run, run + 1))


async def _hear(
    changes: ChangeSet, studio: Studio, status: CheckpointStatus, now: datetime, *, runs: range
) -> None:
    try:
        storage_id = parse_checkpoint_id(status.id)
    except ValueError:
        return  # of an agent gone wrong: nothing has that name
    table = changes.transaction.checkpoints
    before = await table.known_as(storage_id)
    if before is None:
        before = await _make_known(
            changes, studio, storage_id, status, now, run=RunNumber(runs[-1])
        )
    is_its_own = before is not None and before.session_id == studio.session_id
    if before is None or not is_its_own or before.run_number not in runs or before.deleted_at:
        return
    after = advanced(before, status, now)
    if before.generation == 0 and after.generation > 0:
        after = await _with_parent(changes.transaction, studio, after, status.parent_id)
    if is_news(before, after):
        await table.save(after, before=before)
        changes.tell(studio.session_id)


async def _make_known(
    changes: ChangeSet,
    studio: Studio,
    storage_id: CheckpointId,
    status: CheckpointStatus,
    now: datetime,
    *,
    run: RunNumber,
) -> Checkpoint | None:
    """Write an unknown one down, as the Studio's owner's: who began its run is not known."""
    holds_nothing = status.generation < 1 and run != studio.run_number
    table = changes.transaction.checkpoints
    if holds_nothing or await table.count_of_run(studio.session_id, run) >= OF_A_RUN_MAX:
        return None
    made = await _new(
        changes.transaction, studio, run, author=studio.owner, now=now, storage_id=storage_id
    )
    changes.tell(studio.session_id)
    return await table.insert(made)


async def _with_parent(
    transaction: Transaction, studio: Studio, checkpoint: Checkpoint, parent_id: str | None
) -> Checkpoint:
    """What its run began with in the end: its volume may have been ahead of what it was told.

    Only the Studio's own count, and what it was added from: so no agent can hold on to another's.
    """
    if parent_id is None:
        return checkpoint
    try:
        parent = await transaction.checkpoints.known_as(parse_checkpoint_id(parent_id))
    except ValueError:
        return checkpoint
    initial = studio.parent_checkpoint.checkpoint_id if studio.parent_checkpoint else None
    if parent is None or parent.id == checkpoint.id:
        return checkpoint
    if parent.session_id != studio.session_id and parent.id != initial:
        return checkpoint
    return msgspec.structs.replace(checkpoint, parent_id=parent.id)
