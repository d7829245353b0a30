"""Drives everything that is left to do, until nothing is. See `worklist`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from control_plane.model import HealthResult, Studio
    from control_plane.service import StudioService


class HealthProbe(Protocol):
    """Asks a session's agent for its health the way users' requests go: through the edge."""

    async def probe(self, studio: Studio) -> HealthResult:
        """Ask once. Never raises for a session that doesn't answer: that is a result."""
        ...


class Reconciler:
    """One loop for all sessions."""

    def __init__(self, service: StudioService, probe: HealthProbe) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Run until cancelled."""
        raise NotImplementedError

    async def run_once(self) -> None:
        """One pass over everything that is left to do."""
        raise NotImplementedError
