"""What the commands, the reconciler and the health poll share: database, engines, clock, bus."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from control_plane.changes import Changes
from control_plane.errors import ConflictError, NotFoundError
from control_plane.lifecycle import Event, step
from control_plane.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from common.clock import Clock
    from common.ids import SessionId
    from common.templates import TemplateFacts
    from common.tokens import TokenSigner
    from control_plane.effects import Facts
    from control_plane.engines.engine import Engine
    from control_plane.events import EventBus
    from control_plane.model import Studio
    from control_plane.settings import ServiceSettings
    from control_plane.store import Transaction


@dataclass(frozen=True, slots=True)
class Core:
    """The control plane without its listeners, assembled."""

    store: Store
    changes: Changes
    engines: Mapping[str, Engine]
    templates: Mapping[str, TemplateFacts]
    signer: TokenSigner
    clock: Clock
    bus: EventBus
    settings: ServiceSettings


def assemble(
    database: AsyncEngine,
    engines: Mapping[str, Engine],
    templates: Mapping[str, TemplateFacts],
    signer: TokenSigner,
    clock: Clock,
    bus: EventBus,
    settings: ServiceSettings,
) -> Core:
    store = Store(database)
    changes = Changes(store, clock, bus)
    return Core(store, changes, engines, templates, signer, clock, bus, settings)


async def find_studio(
    transaction: Transaction, session_id: SessionId, *, lock: bool = False
) -> Studio:
    """The Studio, or NotFoundError; a deleted one is not found."""
    studio = await transaction.studio(session_id, lock=lock)
    if studio is None or studio.deleted:
        raise NotFoundError(f"There is no Studio {session_id}: look for it in the list of Studios.")
    return studio


def advance(studio: Studio, event: Event, facts: Facts) -> Studio:
    """Return the Studio after what somebody asked for, or raise ConflictError with the reason."""
    outcome = step(studio, event, facts)
    if outcome.refusal:
        raise ConflictError(outcome.refusal)
    if event is Event.EXTEND and studio.deadline is None:
        raise ConflictError("The session keeps running until it is stopped: nothing to do.")
    return outcome.studio
