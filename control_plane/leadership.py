"""One reconciler at a time, where several control planes share a database.

On PostgreSQL an advisory lock, held by a connection of its own, says who leads: when that process
or its connection dies the lock is free, and the next one finds all work in the database. On SQLite
there is one process, and it always leads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from control_plane.store import Store

LOCK = 741053
"""The reconciler's. Any number, the same in every instance; next to the one of the migrations."""
COLLECTOR_LOCK = 741054
"""Of whoever collects what nothing needs any more in storage."""

_log = structlog.get_logger()


class Leadership:
    """Ask before each pass."""

    def __init__(self, store: Store, *, lock: int = LOCK) -> None:
        self._store = store
        self._lock = lock
        self._connection: AsyncConnection | None = None

    async def is_ours(self) -> bool:
        """Take the lead if nobody has it; say whether we have it now."""
        if not self._store.is_shared:
            return True
        if self._connection is not None:
            try:
                await self._connection.execute(sa.text("SELECT 1"))  # still held while this works
            except sa.exc.DBAPIError:
                _log.warning("leadership_lost")
                await self.close()
                raise
            return True
        connection = await self._store.connect_alone()
        try:
            taken = await connection.scalar(
                sa.text("SELECT pg_try_advisory_lock(:lock)"), {"lock": self._lock}
            )
        except BaseException:
            await connection.close()
            raise
        if not taken:
            await connection.close()
            return False
        _log.info("leadership_taken")
        self._connection = connection
        return True

    async def close(self) -> None:
        """Give the lead up. Idempotent."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()  # closes it for good: in the pool it would keep the lock
            await connection.close()
