"""The tunnel to all edges. Start here.

Each edge has its own parked connections, so any of them serves the session and none needs to know
of another.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.tunnel.link import EdgeLink
from common.messages import TunnelStatus

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from agent.gateway.server import Gateway
    from common.clock import Clock
    from common.secret import Secret


class Tunnel:
    """See the module. `on_change` is called when the first connection comes or the last goes."""

    def __init__(
        self,
        *,
        edge_urls: tuple[str, ...],
        token: Secret,
        gateway: Gateway,
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self._token = token
        self._links = [
            EdgeLink(
                url=url,
                token=lambda: self._token,
                gateway=gateway,
                clock=clock,
                rng=rng,
                on_change=on_change,
            )
            for url in edge_urls
        ]

    def renew(self, token: Secret) -> None:
        """Use `token` for connections dialled from now on; parked ones stay."""
        self._token = token

    def status(self) -> TunnelStatus:
        return TunnelStatus(
            connected=any(link.connected for link in self._links),
            edges=tuple(link.status() for link in self._links),
        )

    async def run(self) -> None:
        """Keep the tunnel up until cancelled."""
        async with asyncio.TaskGroup() as group:
            for link in self._links:
                group.create_task(link.run(), name="tunnel")

    async def close(self) -> None:
        """Close every connection at once."""
        for link in self._links:
            await link.close()
