"""A checkpoint of the model → its public shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.api import shapes
from control_plane.checkpoint_life import advanced, is_saving
from control_plane.model import ACTIVE

if TYPE_CHECKING:
    from datetime import datetime

    from control_plane.model import Studio
    from control_plane.model_checkpoints import Checkpoint

_FOLDER = ".studios/checkpoints/checkpoints"
"""Of a work directory: where its checkpoints' records are."""


def checkpoint_shape(
    checkpoint: Checkpoint, studio: Studio, *, now: datetime, is_insider: bool
) -> shapes.CheckpointShape:
    """Show it; of a session under way as its newest report has it.

    Messages may name what is in the session: they are for people who may look inside.
    """
    checkpoint = _newest(checkpoint, studio, now)
    author = shapes.UserShape(id=checkpoint.author.id, user_name=checkpoint.author.name)
    return shapes.CheckpointShape(
        id=checkpoint.id,
        name=checkpoint.name,
        date_created=checkpoint.date_created,
        date_saved=checkpoint.date_saved,
        author=author,
        path=f"{checkpoint.work_dir.rstrip('/')}/{_FOLDER}/{checkpoint.storage_id}",
        status=checkpoint.state,
        session_id=checkpoint.session_id,
        run_number=checkpoint.run_number,
        generation=checkpoint.generation,
        entries=checkpoint.entries,
        size=checkpoint.file_bytes,
        stored_size=checkpoint.stored_bytes,
        image=checkpoint.image,
        parent_checkpoint_id=checkpoint.parent_id,
        message=checkpoint.message if is_insider else "",
        saving=is_saving(checkpoint, studio),
    )


def parent_checkpoint(studio: Studio) -> shapes.ParentCheckpointShape | None:
    parent = studio.parent_checkpoint
    if parent is None:
        return None
    return shapes.ParentCheckpointShape(
        checkpoint_id=parent.checkpoint_id,
        checkpoint_name=parent.checkpoint_name,
        session_id=parent.session_id,
        studio_name=parent.studio_name,
    )


def _newest(checkpoint: Checkpoint, studio: Studio, now: datetime) -> Checkpoint:
    """What is written down may be a little behind what the session says."""
    report = studio.report if studio.status in ACTIVE else None
    status = report.checkpoint if report is not None else None
    if status is None or status.id != checkpoint.storage_id:
        return checkpoint
    return advanced(checkpoint, status, now)
