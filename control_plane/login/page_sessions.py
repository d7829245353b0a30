"""Who is logged in to the page: opaque values in a cookie, looked up at each request.

Not a signed token: a page session must be over the moment somebody logs out or loses the role, and
one indexed read costs less than a signature check.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from control_plane.login import members, opaque
from control_plane.login.database import reading
from control_plane.schema import page_sessions, users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.ids import UserId
    from common.secret import Secret
    from control_plane.model import Person

LIFE = timedelta(days=14)
"""From the login on, used or not: a stolen cookie is worth nothing after it."""


@dataclass(frozen=True, slots=True)
class PageSessions:
    """The page sessions that are not over."""

    database: AsyncEngine
    clock: Clock

    async def begin(self, user_id: UserId) -> Secret:
        """Return the cookie's value of a new page session."""
        token = opaque.generate()
        now = self.clock.now()
        async with self.database.begin() as connection:
            await connection.execute(
                sa.delete(page_sessions).where(page_sessions.c.expires_at <= now)
            )
            await connection.execute(
                sa.insert(page_sessions).values(
                    token_hash=opaque.digest(token.reveal()),
                    user_id=user_id,
                    date_created=now,
                    last_used=now,
                    expires_at=now + LIFE,
                )
            )
        return token

    async def find(self, values: Sequence[str]) -> Person | None:
        """Return the person of the first value that stands for one."""
        digests = [opaque.digest(value) for value in values if opaque.is_plausible(value)]
        if not digests:
            return None
        query = (
            sa.select(*members.PERSON_COLUMNS, page_sessions.c.token_hash)
            .join(users, users.c.id == page_sessions.c.user_id)
            .where(
                page_sessions.c.token_hash.in_(digests),
                page_sessions.c.expires_at > self.clock.now(),
                users.c.role.is_not(None),
            )
        )
        async with reading(self.database) as connection:
            found = {row.token_hash: row for row in await connection.execute(query)}
        first = next((found[digest] for digest in digests if digest in found), None)
        return None if first is None else members.person_of(first)

    async def end(self, values: Sequence[str]) -> None:
        """Log out: none of these values is worth anything any more."""
        digests = [opaque.digest(value) for value in values]
        async with self.database.begin() as connection:
            await connection.execute(
                sa.delete(page_sessions).where(page_sessions.c.token_hash.in_(digests))
            )
