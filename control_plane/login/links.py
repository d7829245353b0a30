"""One-time login links: the way in for the first admin, and for everybody an admin adds.

A link is printed or sent, so it may leak, be previewed by a chat program or be opened twice.
Therefore it works once, for a day at most, only by POST, and a newer link replaces it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from control_plane.errors import RefusedError
from control_plane.login import members, opaque
from control_plane.login.database import reading
from control_plane.schema import login_links, users
from control_plane.store import Transaction
from control_plane.store_people import PeopleTable

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.ids import UserId
    from common.secret import Secret
    from control_plane.model import Person

LIFE = timedelta(hours=24)
"""Long enough to be sent to a colleague in the evening."""


@dataclass(frozen=True, slots=True)
class LoginLinks:
    """The links that have not been used yet."""

    database: AsyncEngine
    clock: Clock

    async def create(
        self, user_id: UserId, *, actor_id: UserId | None = None, is_invitation: bool = False
    ) -> Secret:
        """Return the token of a new link; earlier links of this person stop working.

        `actor_id` None is the program itself. A link lets whoever made it in as somebody else, so
        making one leaves a trace. An invitation is only for somebody who never logged in; else
        RefusedError.
        """
        token = opaque.generate()
        now = self.clock.now()
        async with self.database.begin() as connection:
            if is_invitation and await PeopleTable(connection).has_joined(user_id):
                raise RefusedError(
                    "They have logged in before, so a login link would let you in as them: they "
                    "can make one themselves with `studios login`, or an Owner can."
                )
            await connection.execute(
                sa.delete(login_links).where(
                    (login_links.c.user_id == user_id) | (login_links.c.expires_at <= now)
                )
            )
            await connection.execute(
                sa.insert(login_links).values(
                    token_hash=opaque.digest(token.reveal()),
                    user_id=user_id,
                    date_created=now,
                    expires_at=now + LIFE,
                )
            )
            await Transaction(connection).audit(
                "login_link_created", at=now, actor_id=actor_id, detail={"user": user_id}
            )
        return token

    async def look(self, token: str) -> Person | None:
        """Return whom a link would log in, without using it up."""
        if not opaque.is_plausible(token):
            return None
        query = (
            sa.select(*members.PERSON_COLUMNS)
            .join(login_links, login_links.c.user_id == users.c.id)
            .where(
                login_links.c.token_hash == opaque.digest(token),
                login_links.c.used_at.is_(None),
                login_links.c.expires_at > self.clock.now(),
                users.c.role.is_not(None),
            )
        )
        async with reading(self.database) as connection:
            row = (await connection.execute(query)).first()
        return None if row is None else members.person_of(row)

    async def redeem(self, token: str) -> Person | None:
        """Use a link up and return whom it logs in; of several at once exactly one gets it."""
        if not opaque.is_plausible(token):
            return None
        now = self.clock.now()
        use = (
            sa.update(login_links)
            .where(
                login_links.c.token_hash == opaque.digest(token),
                login_links.c.used_at.is_(None),
                login_links.c.expires_at > now,
            )
            .values(used_at=now)
            .returning(login_links.c.user_id)
        )
        async with self.database.begin() as connection:
            user_id = (await connection.execute(use)).scalar()
            if user_id is None:
                return None
            await PeopleTable(connection).mark_joined(user_id, now)
            return await members.find(connection, user_id)
