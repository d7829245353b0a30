"""Who a credential stands for: always asked anew, so that a lost role counts from the next call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from common.ids import UserId
from control_plane.login.database import reading
from control_plane.model import Person, Role
from control_plane.schema import users

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

PERSON_COLUMNS = (users.c.id.label("person_id"), users.c.name.label("person_name"), users.c.role)
"""What `person_of` needs in a row. Rows of people without a role are to be left out."""


def person_of(row: sa.Row[*tuple[Any, ...]]) -> Person:
    return Person(id=UserId(row.person_id), name=row.person_name, role=Role(row.role))


async def find(connection: AsyncConnection, user_id: UserId) -> Person | None:
    """Return the member, or None when there is none (any more)."""
    query = sa.select(*PERSON_COLUMNS).where(users.c.id == user_id, users.c.role.is_not(None))
    row = (await connection.execute(query)).first()
    return None if row is None else person_of(row)


async def names(database: AsyncEngine, ids: frozenset[UserId]) -> dict[UserId, str]:
    """Return the names of people, members or not."""
    if not ids:
        return {}
    query = sa.select(users.c.id, users.c.name).where(users.c.id.in_(ids))
    async with reading(database) as connection:
        return {UserId(row.id): row.name for row in await connection.execute(query)}
