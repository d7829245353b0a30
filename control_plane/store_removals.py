"""Which checkpoints' data is to be deleted, and who is at it: that part of a transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from checkpoints.format.ids import CheckpointId
from control_plane import schema
from control_plane.model import ACTIVE, JobStanding
from control_plane.model_checkpoints import CheckpointNumber, CheckpointState, DoomedCheckpoint
from control_plane.store_checkpoints import has_saved

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_table, _studios, _held = schema.checkpoints, schema.studios, schema.collections


class RemovalTable:
    """What can be read and written of removals within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def work_dirs(self) -> list[str]:
        """Work directories with something to delete."""
        query = sa.select(_table.c.work_dir).where(_is_doomed()).distinct()
        return sorted((await self._connection.execute(query)).scalars())

    async def doomed(self, work_dir: str, *, limit: int) -> list[DoomedCheckpoint]:
        """What is to be deleted there, the longest deleted first."""
        query = (
            sa.select(_table.c.id, _table.c.storage_id, _table.c.generation)
            .where(_table.c.work_dir == work_dir, _is_doomed())
            .order_by(_table.c.deleted_at, _table.c.id)
            .limit(limit)
        )
        return [
            DoomedCheckpoint(
                id=CheckpointNumber(row.id),
                storage_id=CheckpointId(row.storage_id),
                generation=row.generation,
            )
            for row in await self._connection.execute(query)
        ]

    async def unsure(self, work_dir: str, *, limit: int) -> list[CheckpointNumber]:
        """Those there whose run is over, and may have saved more than was heard; newest first."""
        is_over = (_studios.c.run_number > _table.c.run_number) | (
            _studios.c.status.not_in(ACTIVE) & (_studios.c.job == JobStanding.NONE.value)
        )
        states = (CheckpointState.EMPTY.value, CheckpointState.INTERIM.value)
        query = (
            sa.select(_table.c.id)
            .join(_studios, _studios.c.session_id == _table.c.session_id)
            .where(_table.c.work_dir == work_dir, _table.c.deleted_at.is_(None))
            .where(_table.c.state.in_(states), ~_studios.c.deleted, is_over)
            .order_by(_table.c.id.desc())
            .limit(limit)
        )
        return [CheckpointNumber(row.id) for row in await self._connection.execute(query)]

    async def forget(self, number: CheckpointNumber) -> None:
        """Its data is gone: so is the row. Idempotent."""
        await self._connection.execute(
            sa.update(_table).where(_table.c.parent_id == number).values(parent_id=None)
        )
        await self._connection.execute(
            sa.delete(_table).where(_table.c.id == number, _table.c.deleted_at.is_not(None))
        )

    async def note(self, number: CheckpointNumber, message: str) -> None:
        """Keep why its data could not be deleted."""
        await self._connection.execute(
            sa.update(_table).where(_table.c.id == number).values(message=message)
        )

    # ── Who is at it ─────────────────────────────────────────────────────────

    async def ended_at(self, work_dir: str) -> datetime | None:
        query = sa.select(_held.c.ended_at).where(_held.c.work_dir == work_dir)
        return (await self._connection.execute(query)).scalar_one_or_none()

    async def take(self, work_dir: str, holder: str, *, now: datetime, until: datetime) -> bool:
        """Take a work directory that nobody holds any more; say whether that worked."""
        is_free = _held.c.holder.is_(None) | (_held.c.held_until <= now)
        taken = await self._connection.execute(
            sa.update(_held)
            .where(_held.c.work_dir == work_dir, is_free)
            .values(holder=holder, held_until=until)
        )
        if taken.rowcount:
            return True
        known = sa.select(_held.c.work_dir).where(_held.c.work_dir == work_dir)
        if (await self._connection.execute(known)).first() is not None:
            return False
        await self._connection.execute(
            sa.insert(_held).values(work_dir=work_dir, holder=holder, held_until=until)
        )
        return True

    async def renew(self, work_dir: str, holder: str, *, until: datetime) -> bool:
        """Hold it for longer; say whether it was still held."""
        renewed = await self._connection.execute(
            sa.update(_held)
            .where(_held.c.work_dir == work_dir, _held.c.holder == holder)
            .values(held_until=until)
        )
        return bool(renewed.rowcount)

    async def release(self, work_dir: str, holder: str, *, ended_at: datetime | None) -> None:
        """Let go of it, if it is still held; with the time of a collection that came to its end."""
        freed: dict[str, object] = {"holder": None, "held_until": None}
        if ended_at is not None:
            freed["ended_at"] = ended_at
        await self._connection.execute(
            sa.update(_held)
            .where(_held.c.work_dir == work_dir, _held.c.holder == holder)
            .values(freed)
        )


def _is_doomed() -> sa.ColumnElement[bool]:
    """Deleted by people, or with its Studio, and neither written nor needed by anybody.

    Until its Studio is forgotten, an agent of it may be alive. A run needs what it begins with
    until its own first generation is committed: from then on storage keeps what that one needs.
    """
    child, waiting = _table.alias("child"), _studios.c.initial_checkpoint_id == _table.c.id
    is_dying = sa.exists().where(_studios.c.session_id == _table.c.session_id, _studios.c.deleted)
    begins = sa.exists().where(
        child.c.parent_id == _table.c.id, child.c.generation == 0, child.c.deleted_at.is_(None)
    )
    will_begin = sa.exists().where(waiting, ~_studios.c.deleted, ~has_saved())
    return _table.c.deleted_at.is_not(None) & ~is_dying & ~begins & ~will_begin
