"""The life of a run's checkpoint, as the control plane sees it. Pure.

A start opens a checkpoint of its own, `empty`, which begins with its Studio's newest that holds
something, or with the one that the Studio was added from. From then on only the word of agents
changes it, and only forwards: reports get lost, repeated and overtaken, while generations and
states only grow, so whatever is behind what is known is old news.

A run that ended before anything was saved leaves it `empty`, and the next start removes it: unless
the run's agent was heard. Then there may be files in the run's volume, which a later run saves
under this very checkpoint before anything of its own (`StatusReport.earlier_checkpoint`), and
something in storage that only a lost report told of. So it is kept, and can't be deleted, until a
later one holds something; then people may delete it, or whoever collects looks it up in storage.
A checkpoint that is unknown all the same is made of the report: see `run_checkpoints`.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from common.messages import CheckpointPhase, CheckpointStatus
from control_plane.model import ACTIVE, JobStanding, Studio
from control_plane.model_checkpoints import Checkpoint, CheckpointState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from common.ids import RunNumber

DATE_NEWS_SECONDS = 30.0
"""That its files are safe as of a little later, and nothing else, is not written for less: agents
report every 10 s, and what is shown of a running session is of its report."""

FILE_BYTES_MAX = 2**63 - 1
"""What a database's number holds. Files with nothing in them may be longer together."""

_STATES = {
    CheckpointPhase.EMPTY: CheckpointState.EMPTY,
    CheckpointPhase.INTERIM: CheckpointState.INTERIM,
    CheckpointPhase.FINALIZED: CheckpointState.FINALIZED,
}
_ORDER = tuple(CheckpointState)


def advanced(checkpoint: Checkpoint, status: CheckpointStatus, now: datetime) -> Checkpoint:
    """Return the checkpoint after what an agent says of it; the same if that is old news."""
    if status.generation < checkpoint.generation:
        return checkpoint
    state = max(checkpoint.state, _STATES[status.phase], key=_ORDER.index)
    saved = _saved_at(status, now)
    known = checkpoint.date_saved
    return msgspec.structs.replace(
        checkpoint,
        state=state,
        generation=status.generation,
        date_saved=max(saved, known) if saved is not None and known is not None else saved or known,
        entries=max(status.entries, 0),
        file_bytes=min(max(status.file_bytes, 0), FILE_BYTES_MAX),
        stored_bytes=max(status.stored_bytes, 0),
        image=status.image or checkpoint.image,
        message=status.message,
    )


def is_news(before: Checkpoint, after: Checkpoint) -> bool:
    """Whether the difference is worth writing, and telling everybody."""
    if msgspec.structs.replace(after, date_saved=before.date_saved) != before:
        return True
    if before.date_saved is None or after.date_saved is None:
        return after.date_saved is not before.date_saved
    return (after.date_saved - before.date_saved).total_seconds() >= DATE_NEWS_SECONDS


def leftovers(
    unsaved: Iterable[Checkpoint], *, opening: RunNumber, heard: bool
) -> list[Checkpoint]:
    """Name those of a Studio's checkpoints without a generation that go as run `opening` begins.

    `heard`: whether the agent of the run before it ever reported.
    """
    return [] if heard else [one for one in unsaved if one.run_number == opening - 1]


def may_be_saved(checkpoint: Checkpoint, newest: Checkpoint | None) -> bool:
    """Whether a later run may find files that belong to a checkpoint which holds nothing yet."""
    is_newest = newest is None or newest.run_number < checkpoint.run_number
    return checkpoint.generation == 0 and is_newest


def is_being_written(checkpoint: Checkpoint, studio: Studio) -> bool:
    """Whether the run that writes to it may still do so. `studio` is the one it belongs to."""
    if checkpoint.run_number != studio.run_number:
        return False
    if checkpoint.state is CheckpointState.FINALIZED:
        return False
    return studio.status in ACTIVE or studio.job is not JobStanding.NONE


def is_saving(checkpoint: Checkpoint, studio: Studio) -> bool:
    """Whether a capture is under way, or was asked for and is not safe yet."""
    if studio.status not in ACTIVE or checkpoint.run_number != studio.run_number:
        return False
    status = studio.report.checkpoint if studio.report is not None else None
    asked = studio.checkpoint_requested_at
    if status is None or status.id != checkpoint.storage_id:
        return asked is not None
    answered = _aware(status.answered_request_at)
    return status.in_progress or (asked is not None and (answered is None or answered < asked))


def _saved_at(status: CheckpointStatus, now: datetime) -> datetime | None:
    """No later than now, whatever the agent's clock says: an age is never negative."""
    committed = _aware(status.committed_at)
    if status.generation < 1 or committed is None:
        return None
    return min(committed, now)


def _aware(time: datetime | None) -> datetime | None:
    """In UTC; None for a time that has none: a report may hold anything."""
    if time is None:
        return None
    try:
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except OverflowError:
        return None
