"""Gateway and tunnel, built of what the daemon gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.gateway.server import Gateway
from agent.tunnel.dialer import Tunnel

if TYPE_CHECKING:
    from agent.parts import Door, Road, Wiring

_LOOPBACK = "127.0.0.1"


def connect(wiring: Wiring) -> tuple[Door, Road]:
    """Build both for one run."""
    spec = wiring.spec
    gateway = Gateway(
        spec=spec,
        tool_address=(_LOOPBACK, spec.tool.port),
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
