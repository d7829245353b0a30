"""The pages as JSON, for programs in the session. Fields may be added, none goes. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from agent.inside.lateness import age_seconds, warnings
from common.ids import RunNumber, SessionId
from common.messages import CheckpointStatus, RootStatus, RunPhase, ToolPhase, VolumeStatus

if TYPE_CHECKING:
    from agent.checkpointing.captures import Commit
    from agent.inside.saving import Kept
    from agent.inside.view import View


class _Document(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    pass


class StatusDocument(_Document, frozen=True, kw_only=True):
    """`studio status -o json`."""

    name: str
    session_id: SessionId
    run_number: RunNumber
    phase: RunPhase
    message: str
    since: datetime
    deadline: datetime | None
    """When the lifespan ends; null keeps running, or is not known (yet)."""
    tool: str
    tool_phase: ToolPhase
    root: RootStatus | None
    volume: VolumeStatus | None
    checkpoint: CheckpointStatus | None
    """Where its files are saved; null if they are not."""
    checkpoint_age_seconds: float | None
    """How old the newest state is that is safe; null before there is one."""
    warnings: tuple[str, ...]


class SpaceDocument(_Document, frozen=True, kw_only=True):
    """`studio space -o json`. Sizes in bytes; null before the first measurement."""

    size_bytes: int | None
    used_bytes: int | None
    free_bytes: int | None
    limit_bytes: int
    step_bytes: int
    """By how much it grows at least."""
    free_bytes_min: int
    """It grows when less than this is free."""
    full: bool
    message: str


class SavedDocument(_Document, frozen=True, kw_only=True):
    """`studio save -o json`: what is safe now."""

    committed_at: datetime
    """As the files were then."""
    generation: int
    entries: int
    """Files, folders and what else has a name."""
    file_bytes: int
    torn_files: int
    """Files that were written to while they were read."""
    is_new: bool
    """False if nothing had changed since the last time."""
    new_bytes: int
    """What it has added to the work directory."""
    seconds: float
    """That it took; 0 if nothing had changed."""


class GenerationDocument(_Document, frozen=True, kw_only=True):
    """One line of `studio history`."""

    generation: int
    created_at: datetime
    entries: int
    file_bytes: int
    new_bytes: int
    seconds: float


class HistoryDocument(_Document, frozen=True, kw_only=True):
    """`studio history -o json`."""

    checkpoint: CheckpointStatus
    checkpoint_age_seconds: float | None
    earlier_checkpoint: CheckpointStatus | None
    """What the session before had left unsaved, and this one has saved."""
    generations: tuple[GenerationDocument, ...]
    """That were committed since the session began, newest last; the last hundred at most."""


def status_document(view: View) -> StatusDocument:
    report = view.report
    return StatusDocument(
        name=view.studio_name,
        session_id=report.session_id,
        run_number=report.run_number,
        phase=report.phase,
        message=report.message,
        since=view.since,
        deadline=view.obeyed.deadline,
        tool=view.tool_name,
        tool_phase=report.tool.phase,
        root=report.root,
        volume=report.volume,
        checkpoint=report.checkpoint,
        checkpoint_age_seconds=age_seconds(view),
        warnings=warnings(view),
    )


def space_document(view: View) -> SpaceDocument:
    volume, limits = view.report.volume, view.limits
    measured = volume if volume is not None and volume.size_bytes else None
    return SpaceDocument(
        size_bytes=None if measured is None else measured.size_bytes,
        used_bytes=None if measured is None else measured.size_bytes - measured.free_bytes,
        free_bytes=None if measured is None else measured.free_bytes,
        limit_bytes=limits.limit_bytes,
        step_bytes=limits.step_bytes,
        free_bytes_min=limits.free_bytes_min,
        full=volume is not None and volume.full,
        message="" if volume is None else volume.message,
    )


def saved_document(kept: Kept) -> SavedDocument:
    return SavedDocument(
        committed_at=kept.committed_at,
        generation=kept.generation,
        entries=kept.entries,
        file_bytes=kept.file_bytes,
        torn_files=kept.torn_files,
        is_new=kept.new is not None,
        new_bytes=0 if kept.new is None else kept.new.saved.stored_bytes,
        seconds=0.0 if kept.new is None else kept.new.seconds,
    )


def history_document(view: View, checkpoint: CheckpointStatus) -> HistoryDocument:
    return HistoryDocument(
        checkpoint=checkpoint,
        checkpoint_age_seconds=age_seconds(view),
        earlier_checkpoint=view.report.earlier_checkpoint,
        generations=tuple(_generation(commit) for commit in view.commits),
    )


def _generation(commit: Commit) -> GenerationDocument:
    saved = commit.saved
    return GenerationDocument(
        generation=saved.generation,
        created_at=commit.began_at,
        entries=saved.entries,
        file_bytes=saved.file_bytes,
        new_bytes=saved.stored_bytes,
        seconds=commit.seconds,
    )
