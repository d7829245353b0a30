"""Requests at a fixed rate on a fixed number of connections, timed from when they were due.

The load is open: a request is due at its time whether or not earlier ones are answered. When all
connections are busy it waits here, and the wait counts (a closed loop would ask less often just
when the door is slow, and hide it: «coordinated omission»). The client's own work counts too; it
is the same for every door, and goes out with the difference from the direct way.

Every response is compared byte for byte with the one that belongs to its request.
"""

from __future__ import annotations

import asyncio
import gc
from array import array
from collections import deque
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from bench.exchange import Exchange, body_of, complete, fault
from bench.processes import BenchError
from bench.spread import percentile
from bench.ticks import Ticks

if TYPE_CHECKING:
    from bench.exchange import Visitor

RATE_MAX = 10_000
"""What one Python client asks with time to spare: at 25 µs a request a quarter of a core."""

_LEAD_NS = 5_000_000  # everything is set up before the first request is due
_WAITING_MAX = 20_000  # a door this far behind will not catch up
_STRAGGLERS_SECONDS_MAX = 10.0
_SECOND_NS = 1_000_000_000
_MILLISECOND_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """What `requests` took, milliseconds."""

    requests: int
    p50_ms: float
    p99_ms: float


class _Connection(asyncio.Protocol):
    """Carries one request after another."""

    def __init__(self, load: _Load) -> None:
        self._load = load
        self._received = b""
        self._body = b""
        self._due_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._load.idle.append(self)

    def ask(self, number: int, due_ns: int) -> None:
        self._due_ns = due_ns
        self._body = body_of(number)
        self._transport.write(self._load.exchange.request(number))

    def data_received(self, data: bytes) -> None:
        received = self._received + data if self._received else data
        if not complete(received):
            self._received = received
            return
        took_ns = monotonic_ns() - self._due_ns
        self._received = b""
        wrong = fault(received, self._body)
        if wrong:
            self._load.fail(f"a wrong response: {wrong}")
        else:
            self._load.answered(self, took_ns)

    def connection_lost(self, error: Exception | None) -> None:
        self._load.fail("a connection was closed")

    def close(self) -> None:
        self._transport.abort()


class _Load:
    """Hands out due requests to idle connections."""

    def __init__(self, exchange: Exchange, total: int) -> None:
        self.exchange = exchange
        self.idle: list[_Connection] = []
        self.took_ns = array("q")
        self._total = total
        self._due_count = 0
        self._waiting: deque[tuple[int, int]] = deque()
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def due(self, count: int, first_ns: int, interval_ns: int) -> None:
        """Take up `count` more requests; number n is due at `first_ns` + n × `interval_ns`."""
        if self._done.done():
            return
        until = min(self._due_count + count, self._total)
        for number in range(self._due_count, until):
            due_ns = first_ns + number * interval_ns
            if self.idle:
                self.idle.pop().ask(number, due_ns)
            else:
                self._waiting.append((number, due_ns))
        self._due_count = until
        if len(self._waiting) > _WAITING_MAX:
            self.fail(f"{len(self._waiting)} requests wait: the rate can't be held")

    def answered(self, connection: _Connection, took_ns: int) -> None:
        self.took_ns.append(took_ns)
        if self._waiting:
            connection.ask(*self._waiting.popleft())
        else:
            self.idle.append(connection)
        if len(self.took_ns) == self._total and not self._done.done():
            self._done.set_result(None)

    def fail(self, sentence: str) -> None:
        if not self._done.done():
            self._done.set_exception(BenchError(sentence))

    async def done(self) -> None:
        await self._done


async def measure(
    port: int, visitor: Visitor, *, rate: float, seconds: float, connections: int
) -> Latency:
    """Ask `rate` times a second for `seconds`. Raises BenchError for any wrong response."""
    loop = asyncio.get_running_loop()
    interval_ns = round(_SECOND_NS / rate)
    load = _Load(Exchange(visitor), total=max(1, round(rate * seconds)))
    opened = [
        (await loop.create_connection(lambda: _Connection(load), "127.0.0.1", port))[1]
        for _ in range(connections)
    ]
    start_ns = monotonic_ns() + _LEAD_NS
    ticks = Ticks(start_ns, interval_ns)
    gc.collect()
    gc.disable()  # a pause of ours would look like one of theirs
    loop.add_reader(ticks.fileno(), lambda: load.due(ticks.take(), start_ns, interval_ns))
    try:
        async with asyncio.timeout(seconds + _STRAGGLERS_SECONDS_MAX):
            await load.done()
    except TimeoutError:
        raise BenchError("responses are missing") from None
    finally:
        loop.remove_reader(ticks.fileno())
        ticks.close()
        gc.enable()
        for connection in opened:
            connection.close()
    ordered = sorted(load.took_ns)
    return Latency(
        requests=len(ordered),
        p50_ms=percentile(ordered, 0.50) / _MILLISECOND_NS,
        p99_ms=percentile(ordered, 0.99) / _MILLISECOND_NS,
    )
