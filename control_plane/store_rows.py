"""Rows to values and back. The only place that knows how a Studio lies in its columns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from common.ids import RunNumber, SessionId, UserId
from common.messages import StatusReport
from control_plane.clipping import clip_message, clip_report
from control_plane.model import (
    LIFESPAN_HOURS_DEFAULT,
    ComputeEnv,
    ComputeEnvId,
    Configuration,
    HealthResult,
    JobStanding,
    Label,
    ParentCheckpoint,
    Person,
    PersonName,
    Role,
    SessionConfiguration,
    Status,
    StopReason,
    Studio,
    WorkspaceId,
    WorkspaceSettings,
)

if TYPE_CHECKING:
    from sqlalchemy import RowMapping

_SAME = (
    "session_id",
    "workspace_id",
    "name",
    "description",
    "template",
    "compute_env_id",
    "is_private",
    "status_message",
    "status_since",
    "run_number",
    "forced",
    "desired_version",
    "deadline",
    "run_lifespan_hours",
    "job_run",
    "job_detail",
    "submit_attempts",
    "access_version",
    "deleted",
    "date_created",
    "last_updated",
    "last_started",
    "checkpoint_requested_at",
)
"""Columns that hold the field of the same name as it is."""


def studio_columns(studio: Studio) -> dict[str, Any]:
    """Return the row of the `studios` table; labels have a table of their own."""
    parent = studio.parent_checkpoint
    return {
        **{name: getattr(studio, name) for name in _SAME},
        "owner_id": studio.owner.id,
        "configuration": msgspec.to_builtins(studio.configuration),
        "allowed_user_ids": sorted(studio.allowed_user_ids),
        "status": studio.status.value,
        "stop_reason": studio.stop_reason.value if studio.stop_reason else None,
        "session_configuration": _json(studio.session_configuration),
        "job": studio.job.value,
        "report": _json(studio.report),
        "health": _json(studio.health),
        "initial_checkpoint_id": parent.checkpoint_id if parent is not None else None,
    }


def parse_studio(row: RowMapping, labels: tuple[Label, ...]) -> Studio:
    """Read a row of `studios` joined with names of its own: see `store`."""
    configuration = msgspec.convert(row["configuration"], Configuration)
    hours = row["workspace_lifespan_hours"]
    if hours is None:
        hours = configuration.lifespan_hours
    return Studio(
        session_id=SessionId(row["session_id"]),
        workspace_id=WorkspaceId(row["workspace_id"]),
        name=row["name"],
        description=row["description"],
        template=row["template"],
        owner=PersonName(id=UserId(row["owner_id"]), name=row["owner_name"]),
        compute_env_id=ComputeEnvId(row["compute_env_id"]),
        configuration=configuration,
        is_private=row["is_private"],
        allowed_user_ids=frozenset(UserId(user) for user in row["allowed_user_ids"]),
        labels=labels,
        status=Status(row["status"]),
        status_message=clip_message(row["status_message"]),
        status_since=row["status_since"],
        stop_reason=StopReason(row["stop_reason"]) if row["stop_reason"] else None,
        run_number=RunNumber(row["run_number"]),
        forced=row["forced"],
        desired_version=row["desired_version"],
        deadline=row["deadline"],
        run_lifespan_hours=row["run_lifespan_hours"],
        next_lifespan_hours=LIFESPAN_HOURS_DEFAULT if hours is None else hours,
        session_configuration=msgspec.convert(
            row["session_configuration"], SessionConfiguration | None
        ),
        job=JobStanding(row["job"]),
        job_run=RunNumber(row["job_run"]),
        job_detail=row["job_detail"],
        submit_attempts=row["submit_attempts"],
        access_version=row["access_version"],
        deleted=row["deleted"],
        date_created=row["date_created"],
        last_updated=row["last_updated"],
        last_started=row["last_started"],
        report=_report(row["report"]),
        health=msgspec.convert(row["health"], HealthResult | None),
        parent_checkpoint=_parent_checkpoint(row),
        checkpoint_requested_at=row["checkpoint_requested_at"],
    )


def parse_person(row: RowMapping) -> Person | None:
    """Return a member; None for somebody who is none any more."""
    if row["role"] is None:
        return None
    return Person(id=UserId(row["id"]), name=row["name"], role=Role(row["role"]))


def parse_compute_env(row: RowMapping) -> ComputeEnv:
    return msgspec.convert(_plain(row), ComputeEnv)


def parse_settings(row: RowMapping) -> WorkspaceSettings:
    return msgspec.convert(_plain(row), WorkspaceSettings)


def parse_label(row: RowMapping) -> Label:
    return msgspec.convert(_plain(row), Label)


def settings_columns(settings: WorkspaceSettings) -> dict[str, Any]:
    return dict(msgspec.structs.asdict(settings))


def compute_env_columns(env: ComputeEnv) -> dict[str, Any]:
    return dict(msgspec.structs.asdict(env))


def _plain(row: RowMapping) -> dict[str, Any]:
    """The row with exact strings as keys: SQLAlchemy's are a subclass, which msgspec refuses."""
    return {str(key): value for key, value in row.items()}


def _parent_checkpoint(row: RowMapping) -> ParentCheckpoint | None:
    if row["initial_checkpoint_id"] is None:
        return None
    return ParentCheckpoint(
        checkpoint_id=row["initial_checkpoint_id"],
        checkpoint_name=row["parent_checkpoint_name"] or "",
        session_id=row["parent_session_id"] or "",
        studio_name=row["parent_studio_name"] or "",
    )


def _report(value: Any) -> StatusReport | None:
    """Bounded here too, so that rows written before there were bounds heal."""
    return None if value is None else clip_report(msgspec.convert(value, StatusReport))


def _json(value: msgspec.Struct | None) -> Any:
    return None if value is None else msgspec.to_builtins(value)
