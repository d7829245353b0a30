"""The tunnel to one edge: keeps as many connections parked as the edge wants.

A connection that turns busy is replaced at once, so a steady load never waits. Nothing parked is
closed from this end: the edge could be sending a request on it in that instant. While the edge
can't be reached one attempt is made at a time, with a growing pause.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from agent.tunnel.handshake import DialError, EdgeAddress, park
from common.backoff import Backoff
from common.messages import EdgeTunnel
from common.tasks import TaskBag

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from agent.gateway.connection import TunnelConnection
    from agent.gateway.server import Gateway
    from common.clock import Clock
    from common.secret import Secret

_log = structlog.get_logger()

WANTED_MIN = 2
WANTED_MAX = 64
_DIALLING_MAX = 8  # at once; a burst is served within milliseconds without a storm on the edge
HEARTBEAT_SECONDS = 15.0
_RETRY_SECONDS_MIN = 0.1
_RETRY_SECONDS_MAX = 10.0
_HOPELESS = (409, 426)
_HOPELESS_SECONDS = 60.0
"""A newer run is connected, or the edge doesn't know our protocol: trying soon won't help, trying
at all does if that was a mistake."""
_RETRY_AFTER_SECONDS_MAX = 60.0


class EdgeLink:
    """Connections to one edge."""

    def __init__(
        self,
        *,
        url: str,
        token: Callable[[], Secret],
        gateway: Gateway,
        clock: Clock,
        rng: random.Random,
        on_change: Callable[[], None],
    ) -> None:
        self._url = url
        self._address = EdgeAddress.parse(url)
        self._token = token
        self._gateway = gateway
        self._clock = clock
        self._on_change = on_change
        self._tasks = TaskBag(f"tunnel {url}")
        self._backoff = Backoff(
            first_seconds=_RETRY_SECONDS_MIN, seconds_max=_RETRY_SECONDS_MAX, rng=rng
        )
        self._wanted = WANTED_MIN
        self._parked: set[TunnelConnection] = set()
        self._busy: set[TunnelConnection] = set()
        self._dialling = 0
        self._failing = False
        self._pause_seconds = 0.0
        self._message = "connecting"
        self._connected = False
        self._need = asyncio.Event()
        self._need.set()

    @property
    def connected(self) -> bool:
        return self._connected

    def status(self) -> EdgeTunnel:
        return EdgeTunnel(
            edge_url=self._url,
            parked=len(self._parked),
            busy=len(self._busy),
            message=self._message,
        )

    # ── what the connections tell (see `gateway.connection.TunnelEnd`) ───────

    def busy(self, connection: TunnelConnection) -> None:
        self._parked.discard(connection)
        self._busy.add(connection)
        if self._missing() > 0:
            self._need.set()

    def parked(self, connection: TunnelConnection) -> None:
        self._busy.discard(connection)
        self._parked.add(connection)

    def want(self, count: int) -> None:
        self._wanted = max(WANTED_MIN, min(WANTED_MAX, count))
        self._need.set()

    def drained(self) -> None:
        self._failing = True  # the edge goes away: come back slowly
        self._message = "the edge is draining"

    def gone(self, connection: TunnelConnection) -> None:
        if connection in self._parked:
            self._parked.discard(connection)
            # Lost, not spare: dialling again at once would be a storm on an edge that has fallen.
            self._failing = self._failing or self._missing() > 0
        self._busy.discard(connection)
        self._need.set()
        self._note_connected()

    def _note_connected(self) -> None:
        connected = bool(self._parked or self._busy)
        if connected != self._connected:
            self._connected = connected
            self._on_change()

    # ── dialling ─────────────────────────────────────────────────────────────

    async def run(self) -> None:
        """Keep connections parked until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tasks.failed(), name="tunnel/tasks")
            group.create_task(self._heartbeats(), name="tunnel/heartbeats")
            group.create_task(self._keep_parked(), name="tunnel/dial")

    def _missing(self) -> int:
        return self._wanted - len(self._parked) - self._dialling

    async def _keep_parked(self) -> None:
        while True:
            await self._need.wait()
            self._need.clear()
            if self._failing:
                pause_seconds = max(self._backoff.next_seconds(), self._pause_seconds)
                await self._clock.sleep(pause_seconds)
                if self._missing() > 0:
                    await self._dial()
                    self._need.set()
                continue
            for _ in range(min(self._missing(), _DIALLING_MAX - self._dialling)):
                self._dialling += 1
                self._tasks.spawn(self._dial_one(), name="dial")

    async def _dial_one(self) -> None:
        try:
            await self._dial()
        finally:
            self._dialling -= 1
            self._need.set()

    async def _dial(self) -> None:
        connection = self._gateway.connection(self)
        try:
            await park(self._address, self._token(), connection)
        except DialError as error:
            if not self._failing:
                _log.info("edge_lost", edge=self._url, reason=str(error))
            self._failing = True
            self._message = str(error)
            self._pause_seconds = min(error.retry_after_seconds, _RETRY_AFTER_SECONDS_MAX)
            if error.status in _HOPELESS:
                self._pause_seconds = _HOPELESS_SECONDS
            self._note_connected()
            return
        self._failing = False
        self._pause_seconds = 0.0
        self._message = ""
        self._backoff.reset()
        self._note_connected()

    async def _heartbeats(self) -> None:
        while True:
            await self._clock.sleep(HEARTBEAT_SECONDS)
            for connection in list(self._parked):
                connection.heartbeat()

    async def close(self) -> None:
        await self._tasks.close()
        for connection in [*self._parked, *self._busy]:
            connection.transport.abort()
