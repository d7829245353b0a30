"""Ending sessions when nothing can be written down: the disk of the database is full.

The engine is asked directly. What it does is found out once there is space: the run is over by
then, and the session's status is put right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.core import find_studio
from control_plane.engine_calls import EngineCalls
from control_plane.errors import StorageFullError

if TYPE_CHECKING:
    from common.ids import SessionId
    from control_plane.core import Core


class UnrecordedCommands:
    """That side of the service."""

    _core: Core

    async def end_unrecorded(self, session_id: SessionId) -> bool:
        """Have the engine end a session, in order; say whether nothing of it is left. Ask again.

        For whoever runs the control plane: no person's rights are asked for.
        """
        async with self._core.store.read() as transaction:
            studio = await find_studio(transaction, session_id)
        return await EngineCalls(self._core).end_unrecorded(studio)

    async def end_on_full_disk(self, session_id: SessionId, full: str) -> StorageFullError:
        """Have it ended once asked for; return what to say to whoever may ask for that."""
        over = await self.end_unrecorded(session_id)
        done = "has ended" if over else "was asked to end"
        return StorageFullError(f"{full} The session {done} all the same.")
