"""People in the database: members, and those who were members and still own something."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.ids import UserId
from control_plane import store_rows
from control_plane.model import Person, Role
from control_plane.schema import api_tokens, login_codes, login_links, page_sessions, users

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


class PeopleTable:
    """The `users` table, within one transaction."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection

    async def find(self, user_id: UserId) -> Person | None:
        """A member; None for everybody else."""
        query = sa.select(users).where(users.c.id == user_id)
        row = (await self._connection.execute(query)).mappings().one_or_none()
        return None if row is None else store_rows.parse_person(row)

    async def members(self) -> list[Person]:
        query = sa.select(users).where(users.c.role.is_not(None)).order_by(users.c.name)
        rows = (await self._connection.execute(query)).mappings()
        return [person for row in rows if (person := store_rows.parse_person(row))]

    async def is_empty(self) -> bool:
        """Whether nobody ever was a member."""
        return (await self._connection.execute(sa.select(users.c.id).limit(1))).first() is None

    async def count_owners(self) -> int:
        query = sa.select(sa.func.count()).select_from(users).where(users.c.role == Role.OWNER)
        return int((await self._connection.execute(query)).scalar_one())

    async def id_of(self, name: str) -> UserId | None:
        """The id of whoever has or had this name."""
        query = sa.select(users.c.id).where(users.c.name == name)
        found = (await self._connection.execute(query)).scalar_one_or_none()
        return None if found is None else UserId(found)

    async def insert(self, name: str, role: Role, *, email: str | None, at: datetime) -> UserId:
        inserted = await self._connection.execute(
            sa.insert(users)
            .values(name=name, role=role.value, email=email, date_created=at)
            .returning(users.c.id)
        )
        return UserId(inserted.scalar_one())

    async def set_role(self, user_id: UserId, role: Role | None) -> None:
        await self._connection.execute(
            sa.update(users)
            .where(users.c.id == user_id)
            .values(role=None if role is None else role.value)
        )

    async def has_joined(self, user_id: UserId) -> bool:
        """Whether they ever got a credential of their own; before that they are an invitation."""
        query = sa.select(users.c.joined_at).where(users.c.id == user_id)
        return (await self._connection.execute(query)).scalar() is not None

    async def mark_joined(self, user_id: UserId, at: datetime) -> None:
        await self._connection.execute(
            sa.update(users)
            .where(users.c.id == user_id, users.c.joined_at.is_(None))
            .values(joined_at=at)
        )

    async def revoke_credentials(self, user_id: UserId, at: datetime) -> None:
        """End everything they log in with, for good: coming back doesn't revive it."""
        for table in (page_sessions, login_links, login_codes):
            await self._connection.execute(sa.delete(table).where(table.c.user_id == user_id))
        await self._connection.execute(
            sa.update(api_tokens)
            .where(api_tokens.c.user_id == user_id, api_tokens.c.revoked_at.is_(None))
            .values(revoked_at=at)
        )
