"""Gateway and tunnel, built of what the daemon gives them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from agent.gateway.server import Gateway
from agent.tunnel.dialer import Tunnel

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from agent.parts import Door, Ground, Road, Wiring

    _Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class _ToolAddress:
    """Where the tool is, asked anew each time: there is no such place before the ground is made."""

    ground: Ground
    port: int

    async def connect(
        self, factory: Callable[[], _Protocol]
    ) -> tuple[asyncio.Transport, _Protocol]:
        return await self.ground.address(self.port).connect(factory)


def connect(wiring: Wiring) -> tuple[Door, Road]:
    """Build both for one run."""
    spec = wiring.spec
    gateway = Gateway(
        spec=spec,
        ground=wiring.ground,
        tool_address=_ToolAddress(wiring.ground, spec.tool.port),
        is_ready=wiring.is_ready,
        progress=wiring.progress,
        reserved=wiring.reserved,
        activity=wiring.activity,
        verifier=wiring.verifier,
        clock=wiring.clock,
    )
    tunnel = Tunnel(
        edge_urls=spec.edge_urls,
        token=spec.agent_token,
        gateway=gateway,
        clock=wiring.clock,
        rng=wiring.rng,
        on_change=wiring.on_change,
    )
    return gateway, tunnel
