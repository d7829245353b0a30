"""Login codes: carry a login from the page's host to a session's host, through the address bar.

An address is seen by histories, logs and referrers, so a code works once, for a minute, for one
host, and only together with the edge's own credential.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.ids import UserId
from control_plane.login import opaque
from control_plane.schema import login_codes

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.secret import Secret

LIFE = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class LoginCodes:
    """The codes under way."""

    database: AsyncEngine
    clock: Clock

    async def create(self, user_id: UserId, host: str) -> Secret:
        code = opaque.generate()
        now = self.clock.now()
        async with self.database.begin() as connection:
            await connection.execute(sa.delete(login_codes).where(login_codes.c.expires_at <= now))
            await connection.execute(
                sa.insert(login_codes).values(
                    code_hash=opaque.digest(code.reveal()),
                    user_id=user_id,
                    host=host,
                    date_created=now,
                    expires_at=now + LIFE,
                )
            )
        return code

    async def redeem(self, code: str, host: str) -> UserId | None:
        """Use a code up and return whose it is; None if it is not, or not for this host.

        A code shown for the wrong host is used up as well: it has been seen where it should not.
        """
        if not opaque.is_plausible(code):
            return None
        now = self.clock.now()
        use = (
            sa.update(login_codes)
            .where(
                login_codes.c.code_hash == opaque.digest(code),
                login_codes.c.used_at.is_(None),
                login_codes.c.expires_at > now,
            )
            .values(used_at=now)
            .returning(login_codes.c.user_id, login_codes.c.host)
        )
        async with self.database.begin() as connection:
            row = (await connection.execute(use)).first()
        return UserId(row.user_id) if row is not None and row.host == host else None
