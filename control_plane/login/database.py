"""How the login tables are read; the tables themselves are in `control_plane.schema`."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@asynccontextmanager
async def reading(database: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Give a connection that only reads, so that on SQLite it waits for no writer."""
    async with database.connect() as connection:
        yield await connection.execution_options(reading=True)
