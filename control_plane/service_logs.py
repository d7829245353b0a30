"""The log of a session that is over: its agent can't be asked for it any more, its engine may."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.access import Action, Refused, may
from control_plane.core import find_studio
from control_plane.engines.engine import EngineUnavailableError, KeepsLogs
from control_plane.errors import NotFoundError, RefusedError, UnavailableError

if TYPE_CHECKING:
    from common.ids import SessionId
    from control_plane.core import Core
    from control_plane.model import Person


class LogCommands:
    """The logs' side of the service."""

    _core: Core

    async def log(self, person: Person, session_id: SessionId, *, tail: int) -> str:
        """Return the last lines of what the newest run's tool printed."""
        async with self._core.store.read() as transaction:
            studio = await find_studio(transaction, session_id)
            env = await transaction.compute_env(studio.compute_env_id)
        decision = may(person, Action.CONNECT, studio)
        if isinstance(decision, Refused):
            raise RefusedError(decision.reason)
        engine: object = self._core.engines.get(env.engine)
        text: str | None = None
        if isinstance(engine, KeepsLogs):
            try:
                text = await engine.log(session_id, tail=tail)
            except EngineUnavailableError as error:
                raise UnavailableError(f"The log can't be read now: {error}") from None
        if text is None:
            raise NotFoundError(f"The Studio {studio.name} left no log: start it to get one.")
        return text
