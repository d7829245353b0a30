"""Checkpoints in the database: the part of a transaction that is theirs.

Those of one Studio are written under the lock of the Studio's row; what looks at another Studio's
locks the checkpoint's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import sqlalchemy as sa

from common.ids import RunNumber, SessionId, UserId
from control_plane import schema
from control_plane.model import ACTIVE, PersonName
from control_plane.model_checkpoints import Checkpoint, CheckpointNumber, CheckpointState

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import RowMapping
    from sqlalchemy.ext.asyncio import AsyncConnection

    from checkpoints.format.ids import CheckpointId
    from control_plane.checkpoint_search import CheckpointSearch
    from control_plane.model import ComputeEnv

_table, _studios, _users = schema.checkpoints, schema.studios, schema.users
_NEWEST = (_table.c.run_number.desc(), _table.c.id.desc())
_LIVE = _table.c.deleted_at.is_(None)
_SAVED = (_table.c.generation > 0) & (_table.c.state != CheckpointState.INVALID.value) & _LIVE


class CheckpointTable:
    """What can be read and written of checkpoints within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    # ── One of them ──────────────────────────────────────────────────────────

    async def find(
        self, number: CheckpointNumber, *, session_id: SessionId | None = None, lock: bool = False
    ) -> Checkpoint | None:
        """One that is not deleted, of any Studio or of this one."""
        query = _query().where(_table.c.id == number, _LIVE)
        if session_id is not None:
            query = query.where(_table.c.session_id == session_id)
        return await self._one(query.with_for_update(of=_table) if lock else query)

    async def known_as(self, storage_id: CheckpointId) -> Checkpoint | None:
        """By what the work directory knows it by; deleted ones, too."""
        return await self._one(_query().where(_table.c.storage_id == storage_id))

    async def parent_of(self, checkpoint: Checkpoint) -> Checkpoint | None:
        """What its run began with; deleted ones, too."""
        if checkpoint.parent_id is None:
            return None
        return await self.behind(checkpoint.parent_id)

    async def behind(self, number: int) -> Checkpoint | None:
        """By number, deleted ones too: their data is kept while somebody may begin with it."""
        return await self._one(_query().where(_table.c.id == number))

    async def of_run(self, session_id: SessionId, run: RunNumber) -> Checkpoint | None:
        """The one that a run was told to write to; the newest where there are several."""
        return await self._one(
            _of(session_id).where(_table.c.run_number == run).order_by(*_NEWEST).limit(1)
        )

    async def newest_saved(self, session_id: SessionId) -> Checkpoint | None:
        """What the Studio's next run begins with; None if it has saved nothing of its own."""
        return await self._one(_of(session_id).where(_SAVED).order_by(*_NEWEST).limit(1))

    # ── Several ──────────────────────────────────────────────────────────────

    async def search(
        self, session_id: SessionId, wanted: CheckpointSearch, *, limit: int, offset: int
    ) -> tuple[list[Checkpoint], int]:
        """Those of a Studio that are looked for, newest first; and how many there are."""
        query = _looked_for(_of(session_id), wanted)
        counted = sa.select(sa.func.count()).select_from(query.subquery())
        total = int((await self._connection.execute(counted)).scalar_one())
        return await self._several(query.order_by(*_NEWEST).limit(limit).offset(offset)), total

    async def unsaved(self, session_id: SessionId) -> list[Checkpoint]:
        """Those of a Studio without a generation."""
        return await self._several(_of(session_id).where(_table.c.generation == 0))

    async def shown_with(self, session_ids: Iterable[SessionId]) -> dict[SessionId, Checkpoint]:
        """For each Studio the one of its session under way, or else what the next begins with."""
        ids = list(session_ids)
        if not ids:
            return {}
        under_way = _studios.c.status.in_(ACTIVE) & (_table.c.run_number == _studios.c.run_number)
        place = sa.func.row_number().over(partition_by=_table.c.session_id, order_by=_NEWEST)
        ranked = (
            sa.select(_table.c.id, place.label("place"))
            .join(_studios, _studios.c.session_id == _table.c.session_id)
            .where(_table.c.session_id.in_(ids), _LIVE, _SAVED | under_way)
            .subquery()
        )
        query = _query().join(ranked, ranked.c.id == _table.c.id).where(ranked.c.place == 1)
        return {one.session_id: one for one in await self._several(query)}

    async def names(self, session_id: SessionId) -> set[str]:
        """All names taken within a Studio."""
        query = sa.select(_table.c.name).where(_table.c.session_id == session_id, _LIVE)
        return set((await self._connection.execute(query)).scalars())

    async def count_of_run(self, session_id: SessionId, run: RunNumber) -> int:
        query = (
            sa.select(sa.func.count())
            .select_from(_table)
            .where(_table.c.session_id == session_id, _table.c.run_number == run)
        )
        return int((await self._connection.execute(query)).scalar_one())

    async def sessions_on(self, number: CheckpointNumber) -> list[str]:
        """Names of Studios with a session under way that began with it."""
        query = (
            sa.select(_studios.c.name)
            .join(_table, _table.c.session_id == _studios.c.session_id)
            .where(
                _table.c.parent_id == number,
                _table.c.run_number == _studios.c.run_number,
                _studios.c.status.in_(ACTIVE),
            )
            .order_by(_studios.c.name)
        )
        return list((await self._connection.execute(query)).scalars())

    async def studios_waiting_for(self, number: CheckpointNumber) -> list[str]:
        """Names of Studios added from it that have saved nothing of their own yet."""
        query = (
            sa.select(_studios.c.name)
            .where(_studios.c.initial_checkpoint_id == number, ~_studios.c.deleted, ~has_saved())
            .order_by(_studios.c.name)
        )
        return list((await self._connection.execute(query)).scalars())

    # ── Writing ──────────────────────────────────────────────────────────────

    async def insert(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return it with its number."""
        inserted = await self._connection.execute(
            sa.insert(_table).values(_columns(checkpoint)).returning(_table.c.id)
        )
        return msgspec.structs.replace(checkpoint, id=CheckpointNumber(inserted.scalar_one()))

    async def save(self, checkpoint: Checkpoint, *, before: Checkpoint) -> None:
        """Write what differs from `before`."""
        new, old = _columns(checkpoint), _columns(before)
        changed = {name: value for name, value in new.items() if value != old[name]}
        if changed:
            await self._connection.execute(
                sa.update(_table).where(_table.c.id == checkpoint.id).values(changed)
            )

    async def remove(self, number: CheckpointNumber) -> None:
        """Forget one of which nothing is kept anywhere."""
        await self._connection.execute(sa.delete(_table).where(_table.c.id == number))

    async def move(self, env: ComputeEnv) -> None:
        """Follow a compute environment whose work directory has moved: its sessions do, too."""
        await self._connection.execute(
            sa.update(_table).where(_table.c.compute_env_id == env.id).values(work_dir=env.work_dir)
        )

    async def mark_studio_deleted(self, session_id: SessionId, at: datetime) -> None:
        """Let all checkpoints of a Studio go with it."""
        await self._connection.execute(
            sa.update(_table).where(_table.c.session_id == session_id, _LIVE).values(deleted_at=at)
        )

    async def _one(self, query: sa.Select[Any]) -> Checkpoint | None:
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return None if row is None else _parse(row)

    async def _several(self, query: sa.Select[Any]) -> list[Checkpoint]:
        return [_parse(row) for row in (await self._connection.execute(query)).mappings()]


def has_saved() -> sa.Exists:
    """Whether the Studio of the enclosing query has a checkpoint of its own to begin with."""
    own = _table.alias("own")
    return sa.exists().where(
        own.c.session_id == _studios.c.session_id,
        own.c.generation > 0,
        own.c.state != CheckpointState.INVALID.value,
        own.c.deleted_at.is_(None),
    )


def _query() -> sa.Select[Any]:
    return sa.select(_table, _users.c.name.label("author_name")).join(
        _users, _users.c.id == _table.c.author_id
    )


def _of(session_id: SessionId) -> sa.Select[Any]:
    return _query().where(_table.c.session_id == session_id, _LIVE)


def _looked_for(query: sa.Select[Any], wanted: CheckpointSearch) -> sa.Select[Any]:
    if wanted.states:
        query = query.where(_table.c.state.in_([state.value for state in wanted.states]))
    if wanted.created_before is not None:
        query = query.where(_table.c.date_created < wanted.created_before)
    if wanted.created_after is not None:
        query = query.where(_table.c.date_created >= wanted.created_after)
    for author in wanted.authors:
        query = query.where(_users.c.name.icontains(author, autoescape=True))
    for word in wanted.words:
        query = query.where(_table.c.name.icontains(word, autoescape=True))
    return query


_SAME = (
    "storage_id",
    "session_id",
    "name",
    "run_number",
    "compute_env_id",
    "work_dir",
    "parent_id",
    "parent_run_number",
    "date_created",
    "date_saved",
    "generation",
    "entries",
    "file_bytes",
    "stored_bytes",
    "image",
    "message",
    "deleted_at",
)
"""Columns that hold the field of the same name as it is."""


def _columns(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        **{name: getattr(checkpoint, name) for name in _SAME},
        "state": checkpoint.state.value,
        "author_id": checkpoint.author.id,
    }


def _parse(row: RowMapping) -> Checkpoint:
    return Checkpoint(
        **{name: row[name] for name in _SAME},
        id=CheckpointNumber(row["id"]),
        state=CheckpointState(row["state"]),
        author=PersonName(id=UserId(row["author_id"]), name=row["author_name"]),
    )
