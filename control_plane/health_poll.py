"""Polls every running session's health every 30 s, through the edge as users' requests go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from control_plane.model import HealthResult, Studio
    from control_plane.service import StudioService


class EdgeProbe:
    """A HealthProbe over HTTP. `edge_url` is where the edge listens."""

    def __init__(self, service: StudioService, *, edge_url: str) -> None:
        raise NotImplementedError

    async def probe(self, studio: Studio) -> HealthResult:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


class HealthPoll:
    """The loop over all running sessions."""

    def __init__(self, service: StudioService, probe: EdgeProbe) -> None:
        raise NotImplementedError

    async def run(self) -> None:
        """Run until cancelled."""
        raise NotImplementedError
