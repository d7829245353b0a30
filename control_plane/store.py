"""Studios and the workspace in the database: transactions that read and write whole values.

A writing transaction excludes every other on SQLite, and locks the Studio's row on PostgreSQL, so
what was read stays true until it is written. Nothing outside the database is awaited within one.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from control_plane import schema, store_rows
from control_plane.errors import ConflictError
from control_plane.model import (
    ACTIVE,
    ComputeEnv,
    ComputeEnvId,
    JobStanding,
    Label,
    LabelId,
    Status,
    Studio,
    WorkspaceId,
    WorkspaceSettings,
)
from control_plane.store_checkpoints import CheckpointTable
from control_plane.store_people import PeopleTable
from control_plane.store_removals import RemovalTable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from common.ids import SessionId, UserId

_studios = schema.studios
_RESTLESS = (Status.STARTING, Status.RUNNING, Status.STOPPING)


class Store:
    """The database, one transaction at a time."""

    def __init__(self, database: AsyncEngine) -> None:
        self.database = database
        self.is_shared = database.dialect.name != "sqlite"
        """Whether other processes may write, too."""

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Transaction]:
        """A consistent view; nothing is written."""
        async with self.database.connect() as connection:
            await connection.execution_options(reading=True)
            async with connection.begin():
                yield Transaction(connection)

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Transaction]:
        """All of it is durable when the block ends, or, if it raises, none."""
        try:
            async with self.database.begin() as connection:
                yield Transaction(connection)
        except sa.exc.IntegrityError as error:  # another process was faster: nothing was written
            raise ConflictError(
                "Somebody else took this name at the same time: choose another name."
                if "name" in str(error.orig)
                else "Somebody else changed the same thing at the same time: try again."
            ) from error

    async def connect_alone(self) -> AsyncConnection:
        """A connection outside transactions, for the caller to keep and close."""
        connection = await self.database.connect()
        return await connection.execution_options(isolation_level="AUTOCOMMIT")


class Transaction:
    """What can be read and written within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.people = PeopleTable(connection)
        self.checkpoints = CheckpointTable(connection)
        self.removals = RemovalTable(connection)

    # ── Studios ──────────────────────────────────────────────────────────────

    async def studio(self, session_id: SessionId, *, lock: bool = False) -> Studio | None:
        """One Studio, deleted ones too; `lock` it if it is to be saved."""
        query = _query().where(_studios.c.session_id == session_id)
        if lock:
            query = query.with_for_update(of=_studios)
        found = await self._studios(query)
        return found[0] if found else None

    async def search(
        self, workspace_id: WorkspaceId, *, text: str, limit: int, offset: int
    ) -> tuple[list[Studio], int]:
        """Studios whose name, description or id contains `text`, newest first; and how many."""
        wanted = (_studios.c.workspace_id == workspace_id) & ~_studios.c.deleted
        if text:
            columns = (_studios.c.name, _studios.c.description, _studios.c.session_id)
            wanted &= sa.or_(*(column.icontains(text, autoescape=True) for column in columns))
        counted = sa.select(sa.func.count()).select_from(_studios).where(wanted)
        total = (await self._connection.execute(counted)).scalar_one()
        newest = (_studios.c.date_created.desc(), _studios.c.session_id)
        page = _query().where(wanted).order_by(*newest).limit(limit).offset(offset)
        return await self._studios(page), total

    async def all_studios(self) -> list[Studio]:
        """Every Studio that is not deleted."""
        return await self._studios(_query().where(~_studios.c.deleted))

    async def restless_studios(self) -> list[Studio]:
        """Every Studio for which something may be left to do."""
        return await self._studios(
            _query().where(
                _studios.c.status.in_(_RESTLESS)
                | (_studios.c.job != JobStanding.NONE.value)
                | _studios.c.deleted
            )
        )

    async def count_active(self, workspace_id: WorkspaceId) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(_studios)
            .where(_studios.c.workspace_id == workspace_id, _studios.c.status.in_(ACTIVE))
        )
        return int((await self._connection.execute(query)).scalar_one())

    async def is_name_taken(
        self, workspace_id: WorkspaceId, name: str, *, besides: SessionId | None = None
    ) -> bool:
        query = sa.select(_studios.c.session_id).where(
            _studios.c.workspace_id == workspace_id, _studios.c.name == name, ~_studios.c.deleted
        )
        found = (await self._connection.execute(query)).scalar_one_or_none()
        return found is not None and found != besides

    async def insert(self, studio: Studio) -> None:
        await self._connection.execute(
            sa.insert(_studios).values(store_rows.studio_columns(studio))
        )
        await self._save_labels(studio)

    async def save(self, studio: Studio, *, before: Studio) -> None:
        """Write what differs from `before`, which was read and locked in this transaction."""
        new, old = store_rows.studio_columns(studio), store_rows.studio_columns(before)
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            await self._connection.execute(
                sa.update(_studios)
                .where(_studios.c.session_id == studio.session_id)
                .values(changed)
            )
        if studio.labels != before.labels:
            await self._save_labels(studio)

    async def erase(self, session_id: SessionId) -> None:
        await self._connection.execute(
            sa.delete(_studios).where(_studios.c.session_id == session_id)
        )

    async def bump_access(self) -> None:
        """Make every token for every session be checked again."""
        await self._connection.execute(
            sa.update(_studios).values(access_version=_studios.c.access_version + 1)
        )

    async def _studios(self, query: sa.Select[Any]) -> list[Studio]:
        rows = (await self._connection.execute(query)).mappings().all()
        labels = await self._labels_of([row["session_id"] for row in rows])
        return [
            store_rows.parse_studio(row, tuple(labels.get(row["session_id"], ()))) for row in rows
        ]

    async def _labels_of(self, session_ids: Sequence[str]) -> dict[str, list[Label]]:
        found: dict[str, list[Label]] = {}
        if not session_ids:
            return found
        links = schema.studio_labels
        query = (
            sa.select(links.c.session_id, schema.labels)
            .join_from(links, schema.labels)
            .order_by(schema.labels.c.name)
        )
        if len(session_ids) <= _IDS_IN_QUERY_MAX:
            query = query.where(links.c.session_id.in_(session_ids))
        for row in (await self._connection.execute(query)).mappings():
            found.setdefault(row["session_id"], []).append(store_rows.parse_label(row))
        return found

    async def _save_labels(self, studio: Studio) -> None:
        links = schema.studio_labels
        await self._connection.execute(
            sa.delete(links).where(links.c.session_id == studio.session_id)
        )
        rows = [{"session_id": studio.session_id, "label_id": label.id} for label in studio.labels]
        if rows:
            await self._connection.execute(sa.insert(links), rows)

    # ── The workspace ────────────────────────────────────────────────────────

    async def settings(self, workspace_id: WorkspaceId) -> WorkspaceSettings | None:
        """The workspace's settings; None if there is no such workspace."""
        query = sa.select(schema.workspaces).where(schema.workspaces.c.id == workspace_id)
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return None if row is None else store_rows.parse_settings(row)

    async def lock_workspace(self, workspace_id: WorkspaceId) -> None:
        """Let no other transaction that locks it go on, so that what is counted stays counted."""
        table = schema.workspaces
        await self._connection.execute(
            sa.select(table.c.id).where(table.c.id == workspace_id).with_for_update()
        )

    async def save_settings(self, workspace_id: WorkspaceId, settings: WorkspaceSettings) -> None:
        await self._connection.execute(
            sa.update(schema.workspaces)
            .where(schema.workspaces.c.id == workspace_id)
            .values(store_rows.settings_columns(settings))
        )

    async def insert_workspace(
        self, workspace_id: WorkspaceId, name: str, settings: WorkspaceSettings
    ) -> None:
        columns = store_rows.settings_columns(settings)
        await self._connection.execute(
            sa.insert(schema.workspaces).values(id=workspace_id, name=name, **columns)
        )

    async def compute_envs(self, workspace_id: WorkspaceId) -> list[ComputeEnv]:
        table = schema.compute_envs
        query = sa.select(table).where(table.c.workspace_id == workspace_id).order_by(table.c.id)
        rows = (await self._connection.execute(query)).mappings()
        return [store_rows.parse_compute_env(row) for row in rows]

    async def compute_env(self, compute_env_id: ComputeEnvId) -> ComputeEnv:
        query = sa.select(schema.compute_envs).where(schema.compute_envs.c.id == compute_env_id)
        row = (await self._connection.execute(query)).mappings().one()
        return store_rows.parse_compute_env(row)

    async def save_compute_env(self, workspace_id: WorkspaceId, env: ComputeEnv) -> None:
        """Insert, or replace the one with this id."""
        table, columns = schema.compute_envs, store_rows.compute_env_columns(env)
        updated = await self._connection.execute(
            sa.update(table).where(table.c.id == env.id).values(columns)
        )
        if updated.rowcount == 0:
            await self._connection.execute(
                sa.insert(table).values(workspace_id=workspace_id, **columns)
            )

    async def labels(self, workspace_id: WorkspaceId) -> list[Label]:
        table = schema.labels
        query = sa.select(table).where(table.c.workspace_id == workspace_id).order_by(table.c.name)
        rows = (await self._connection.execute(query)).mappings()
        return [store_rows.parse_label(row) for row in rows]

    async def insert_label(
        self, workspace_id: WorkspaceId, name: str, value: str | None = None
    ) -> Label:
        inserted = await self._connection.execute(
            sa.insert(schema.labels)
            .values(workspace_id=workspace_id, name=name, value=value)
            .returning(schema.labels.c.id)
        )
        return Label(id=LabelId(inserted.scalar_one()), name=name, value=value)

    # ── Audit ────────────────────────────────────────────────────────────────

    async def audit(
        self,
        action: str,
        *,
        at: datetime,
        actor_id: UserId | None = None,
        session_id: SessionId | None = None,
        detail: dict[str, object] | None = None,
    ) -> None:
        """Add an audit event. `actor_id` None is the control plane itself."""
        await self._connection.execute(
            sa.insert(schema.audit_events).values(
                at=at,
                action=action,
                actor_id=actor_id,
                session_id=session_id,
                detail=detail or {},
            )
        )


_IDS_IN_QUERY_MAX = 500
"""Databases limit bound values; above this all labels are read, which is no more work."""


def _query() -> sa.Select[Any]:
    parent, parents_studio = schema.checkpoints.alias("parent"), _studios.alias("parents_studio")
    return (
        sa.select(
            _studios,
            schema.users.c.name.label("owner_name"),
            schema.workspaces.c.lifespan_hours.label("workspace_lifespan_hours"),
            parent.c.name.label("parent_checkpoint_name"),
            parent.c.session_id.label("parent_session_id"),
            parents_studio.c.name.label("parent_studio_name"),
        )
        .join(schema.users, schema.users.c.id == _studios.c.owner_id)
        .join(schema.workspaces, schema.workspaces.c.id == _studios.c.workspace_id)
        .outerjoin(parent, parent.c.id == _studios.c.initial_checkpoint_id)
        .outerjoin(parents_studio, parents_studio.c.session_id == parent.c.session_id)
    )
