"""The pages as JSON, for programs in the session. Fields may be added, none goes. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from common.ids import RunNumber, SessionId
from common.messages import RootStatus, RunPhase, ToolPhase, VolumeStatus

if TYPE_CHECKING:
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
        warnings=report.warnings,
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
