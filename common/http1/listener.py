"""Accepts connections for a site and watches their deadlines.

One sweep a second looks at all connections, instead of a timer per request: arming and cancelling
timers costs more than the whole rest of the bookkeeping.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.http1.relay import Downstream

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from common.clock import Clock
    from common.http1.site import Site

_SWEEP_SECONDS = 1.0
_BACKLOG = 4096


class Listener:
    """The connections of one site."""

    def __init__(self) -> None:
        self.connections: set[Downstream] = set()
        self._server: asyncio.Server | None = None

    async def listen(self, site: Site, host: str, port: int) -> int:
        """Accept connections; return the port, which the system chooses if `port` is 0."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Downstream(site), host, port, backlog=_BACKLOG)
        self._server = server
        bound: int = server.sockets[0].getsockname()[1]
        return bound

    def opened(self, downstream: Downstream) -> None:
        self.connections.add(downstream)

    def closed(self, downstream: Downstream) -> None:
        self.connections.discard(downstream)

    def sweep(self, now: float) -> None:
        """Let every connection whose deadline has passed act on it; `now` is the loop's time."""
        for downstream in [c for c in self.connections if 0.0 < c.deadline <= now]:
            downstream.expire()

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    def close_resting(self) -> None:
        """Close the connections that carry no request."""
        for downstream in [c for c in self.connections if c.resting]:
            downstream.transport.close()

    def abort(self) -> None:
        """End every connection at once."""
        self.stop_accepting()
        for downstream in list(self.connections):
            downstream.transport.abort()


async def sweep_forever(clock: Clock, sweeps: Iterable[Callable[[float], None]]) -> None:
    """Call each of `sweeps` with the loop's time once a second, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        await clock.sleep(_SWEEP_SECONDS)
        now = loop.time()
        for sweep in sweeps:
            sweep(now)
