"""API tokens: what the command line and scripts log in with; shown once, kept hashed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from control_plane.database_troubles import busy_sentence, disk_full_sentence
from control_plane.errors import InvalidError, NotFoundError
from control_plane.login import members, opaque
from control_plane.login.database import reading
from control_plane.schema import api_tokens, users
from control_plane.store_people import PeopleTable
from control_plane.validation import problems_of_text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.ids import UserId
    from common.secret import Secret
    from control_plane.model import Person

TOKENS_PER_PERSON_MAX = 100
"""More than anybody has scripts; a loop that makes tokens ends here."""

_USE_RECORDED_EVERY = timedelta(minutes=5)
"""“Last used” is for people: a write at every call would make reads wait for the disk."""


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What may be known of a token after it was shown."""

    id: int
    name: str
    date_created: datetime
    last_used: datetime | None


@dataclass(frozen=True, slots=True)
class ApiTokens:
    """The tokens that are not revoked."""

    database: AsyncEngine
    clock: Clock

    async def create(self, user_id: UserId, name: str) -> tuple[ApiToken, Secret]:
        """Return a new token and its text, which is never to be had again."""
        if problems := problems_of_text(name, what="The token's name"):
            raise InvalidError(" ".join(problems))
        text = opaque.generate(opaque.API_TOKEN_PREFIX)
        now = self.clock.now()
        async with self.database.begin() as connection:
            count = sa.select(sa.func.count()).where(_live(), api_tokens.c.user_id == user_id)
            if ((await connection.execute(count)).scalar() or 0) >= TOKENS_PER_PERSON_MAX:
                raise InvalidError(
                    f"You have {TOKENS_PER_PERSON_MAX} API tokens already: delete one that is no "
                    "longer used."
                )
            result = await connection.execute(
                sa.insert(api_tokens)
                .values(
                    user_id=user_id,
                    name=name,
                    token_hash=opaque.digest(text.reveal()),
                    date_created=now,
                )
                .returning(*_COLUMNS)
            )
            token = _token_of(result.one())
            await PeopleTable(connection).mark_joined(user_id, now)
        return token, text

    async def list(self, user_id: UserId) -> list[ApiToken]:
        query = (
            sa.select(*_COLUMNS)
            .where(_live(), api_tokens.c.user_id == user_id)
            .order_by(api_tokens.c.id)
        )
        async with reading(self.database) as connection:
            return [_token_of(row) for row in await connection.execute(query)]

    async def revoke(self, user_id: UserId, token_id: int) -> None:
        """End one of the person's own tokens; raises NotFoundError for anything else."""
        change = (
            sa.update(api_tokens)
            .where(_live(), api_tokens.c.user_id == user_id, api_tokens.c.id == token_id)
            .values(revoked_at=self.clock.now())
        )
        async with self.database.begin() as connection:
            if (await connection.execute(change)).rowcount == 0:
                raise NotFoundError(
                    f"You have no API token {token_id}: GET /api/tokens lists yours."
                )

    async def revoke_named(self, user_id: UserId, name: str) -> None:
        """End every token of that name: a machine's own token is replaced, not added to."""
        change = (
            sa.update(api_tokens)
            .where(_live(), api_tokens.c.user_id == user_id, api_tokens.c.name == name)
            .values(revoked_at=self.clock.now())
        )
        async with self.database.begin() as connection:
            await connection.execute(change)

    async def find(self, text: str) -> Person | None:
        """Return the person a token stands for."""
        if not opaque.is_plausible(text):
            return None
        query = (
            sa.select(*members.PERSON_COLUMNS, api_tokens.c.id, api_tokens.c.last_used)
            .join(users, users.c.id == api_tokens.c.user_id)
            .where(
                _live(), api_tokens.c.token_hash == opaque.digest(text), users.c.role.is_not(None)
            )
        )
        async with reading(self.database) as connection:
            row = (await connection.execute(query)).first()
        if row is None:
            return None
        now = self.clock.now()
        if row.last_used is None or now - row.last_used >= _USE_RECORDED_EVERY:
            await self._record_use(row.id, now)
        return members.person_of(row)

    async def _record_use(self, token_id: int, now: datetime) -> None:
        """Write down that it was used, if the database takes it now: people go on looking."""
        use = sa.update(api_tokens).where(api_tokens.c.id == token_id).values(last_used=now)
        try:
            async with self.database.begin() as connection:
                await connection.execute(use)
        except sa.exc.DBAPIError as error:
            if not (disk_full_sentence(error) or busy_sentence(error)):
                raise


_COLUMNS = (
    api_tokens.c.id,
    api_tokens.c.name,
    api_tokens.c.date_created,
    api_tokens.c.last_used,
)


def _live() -> sa.ColumnElement[bool]:
    return api_tokens.c.revoked_at.is_(None)


def _token_of(row: sa.Row[*tuple[Any, ...]]) -> ApiToken:
    return ApiToken(
        id=row.id, name=row.name, date_created=row.date_created, last_used=row.last_used
    )
