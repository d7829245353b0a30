"""Where upstream connections come from.

A `Lane` is one destination. `DialledLane` opens connections to an address and keeps some idle
for the next request; the edge's tunnel pool is the other kind.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from common.http1.upstream import Upstream

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_TIMEOUT_SECONDS = 5.0
_IDLE_MAX = 32
IDLE_SECONDS_MAX = 4.0
"""Shorter than any server's own limit (Node closes after 5 s), so that a request seldom meets a
connection that is being closed."""


class LaneUnavailableError(Exception):
    """No connection can be had: `status` and a sentence for the person who asked."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class Lane(Protocol):
    """Gives connections to one destination.

    `take` returns an idle connection at once, or None; then `wait` gets one, or raises
    LaneUnavailableError within its own limit. What either returns is usable. After each exchange
    the connection comes back through `give_back`, or `lost` is called (perhaps more than once) when
    it never will.
    """

    def take(self) -> Upstream | None: ...

    async def wait(self) -> Upstream: ...

    def give_back(self, upstream: Upstream) -> None: ...

    def lost(self, upstream: Upstream) -> None: ...


_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


class Address(Protocol):
    """Where connections go. Values that compare equal are the same place."""

    async def connect(
        self, factory: Callable[[], _Protocol]
    ) -> tuple[asyncio.Transport, _Protocol]:
        """Connect like the loop's `create_connection`; raise OSError."""
        ...


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """A TCP destination."""

    host: str
    port: int

    async def connect(
        self, factory: Callable[[], _Protocol]
    ) -> tuple[asyncio.Transport, _Protocol]:
        loop = asyncio.get_running_loop()
        return await loop.create_connection(factory, self.host, self.port)


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket."""

    path: str

    async def connect(
        self, factory: Callable[[], _Protocol]
    ) -> tuple[asyncio.Transport, _Protocol]:
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.create_unix_connection(factory, self.path)
        return transport, protocol


class DialledLane:
    """Connections to `address`, at most `connections_max` at a time."""

    def __init__(self, address: Address, *, name: str, connections_max: int = 1024) -> None:
        self._address = address
        self._name = name
        self._connections_max = connections_max
        self._idle: deque[Upstream] = deque()
        self._open: set[Upstream] = set()
        self._dialling = 0

    def take(self) -> Upstream | None:
        while self._idle:
            upstream = self._idle.pop()
            if upstream.usable:
                return upstream
        return None

    async def wait(self) -> Upstream:
        if len(self._open) + self._dialling >= self._connections_max:
            raise LaneUnavailableError(503, f"{self._name} has too many open connections.")
        upstream = Upstream(self)
        self._dialling += 1
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_SECONDS):
                await self._address.connect(lambda: upstream)
        except (OSError, TimeoutError) as error:
            reason = str(error) or "no answer"
            raise LaneUnavailableError(
                502, f"{self._name} does not accept connections ({reason})."
            ) from None
        finally:
            self._dialling -= 1
        if not upstream.usable:
            raise LaneUnavailableError(502, f"{self._name} accepts connections and ends them.")
        self._open.add(upstream)
        return upstream

    def give_back(self, upstream: Upstream) -> None:
        if len(self._idle) >= _IDLE_MAX:
            upstream.abandon()
            self.lost(upstream)
            return
        upstream.idle_since = asyncio.get_running_loop().time()
        self._idle.append(upstream)

    def lost(self, upstream: Upstream) -> None:
        self._open.discard(upstream)

    def sweep(self, now: float) -> None:
        """Close connections that have been idle too long; `now` is the loop's time, seconds."""
        while self._idle and now - self._idle[0].idle_since > IDLE_SECONDS_MAX:
            self._idle.popleft().abandon()

    def close(self) -> None:
        """Abort every connection, also those in use."""
        for upstream in list(self._open):
            upstream.transport.abort()
        self._open.clear()
        self._idle.clear()
