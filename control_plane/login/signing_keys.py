"""The keys that sign tokens: made once, kept in the database, so that tokens outlive restarts."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.tokens import TokenSigner, generate_key
from control_plane.schema import signing_keys

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock


async def load_signer(database: AsyncEngine, clock: Clock) -> TokenSigner:
    """Return the signer of this installation; makes its first key if there is none.

    Look and insert are one transaction that excludes other writers, so that two instances
    starting at once agree on the key.
    """
    query = sa.select(signing_keys.c.private_jwk).order_by(
        signing_keys.c.retired_at.is_not(None), signing_keys.c.date_created.desc()
    )
    async with database.begin() as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.text("LOCK TABLE signing_keys IN EXCLUSIVE MODE"))
        keys = list((await connection.execute(query)).scalars())
        if not keys:
            key_id = secrets.token_hex(8)
            keys = [generate_key(key_id)]
            await connection.execute(
                sa.insert(signing_keys).values(
                    key_id=key_id, private_jwk=keys[0], date_created=clock.now()
                )
            )
    return TokenSigner(keys, clock)
