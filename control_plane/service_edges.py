"""What edges can ask: who may connect where, and which sessions there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.edge_messages import EdgeSession
from control_plane.access import Action, Refused, may
from control_plane.clipping import clip_message
from control_plane.model import ConnectDecision

if TYPE_CHECKING:
    from common.ids import SessionId, UserId
    from control_plane.core import Core
    from control_plane.model import Studio


class EdgeCommands:
    """The edges' side of the service."""

    _core: Core

    async def connect_decision(self, user_id: UserId, session_id: SessionId) -> ConnectDecision:
        """Say whether a person may use a session now."""
        async with self._core.store.read() as transaction:
            person = await transaction.people.find(user_id)
            studio = await transaction.studio(session_id)
        if studio is None or studio.deleted:
            return ConnectDecision(
                person=person, refused="There is no such session.", access_version=0, exists=False
            )
        refused = "You are no member of this workspace: ask an Owner or Admin for a role."
        if person is not None:
            decision = may(person, Action.CONNECT, studio)
            refused = decision.reason if isinstance(decision, Refused) else ""
        return ConnectDecision(
            person=person, refused=refused, access_version=studio.access_version, exists=True
        )

    async def edge_sessions(self) -> list[EdgeSession]:
        """Every Studio, as edges need to know it."""
        async with self._core.store.read() as transaction:
            return [_edge_session(studio) for studio in await transaction.all_studios()]

    async def edge_session(self, session_id: SessionId) -> EdgeSession | None:
        """One Studio; None once it is deleted."""
        async with self._core.store.read() as transaction:
            studio = await transaction.studio(session_id)
        return None if studio is None or studio.deleted else _edge_session(studio)


def _edge_session(studio: Studio) -> EdgeSession:
    return EdgeSession(
        session_id=studio.session_id,
        name=studio.name,
        status=studio.status.value,
        message=clip_message(studio.status_message),
        owner=studio.owner.name,
        run_number=studio.run_number,
        access_version=studio.access_version,
    )
