"""Echo round trips of small WebSocket messages: as a terminal or a kernel does them.

Each connection sends the next message when the last one's echo has come, and compares it.
"""

from __future__ import annotations

import asyncio
import os
from array import array
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from bench import frames
from bench.doors import DIRECT, NGINX, OURS, open_doors, stream_tool
from bench.exchange import Exchange
from bench.processes import BenchError, CpuMeter
from bench.results import Bar, Findings, table
from bench.spread import percentile, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bench.doors import Door
    from bench.exchange import Visitor

CONNECTIONS = 16
_WARM_UP_SECONDS = 0.5
_OPEN_SECONDS_MAX = 10.0
_MILLISECOND_NS = 1e6

OF_NGINX = 1 / 1.5


@dataclass(frozen=True, slots=True)
class Sample:
    """One door in one round."""

    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_microseconds: dict[str, float]


Samples = dict[str, list[Sample]]


async def run(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure."""
    async with open_doors(stream_tool) as doors:
        for door in doors.every:
            await _sample(door, doors.visitor, _WARM_UP_SECONDS)
        samples: Samples = {door.name: [] for door in doors.every}
        for number, door in doors.interleaved(rounds):
            sample = await _sample(door, doors.visitor, seconds)
            samples[door.name].append(sample)
            say(f"round {number}/{rounds}  {door.name:24} {sample.per_second:7.0f} round trips/s")
    return Findings(
        "WebSocket round trips", parts(samples, rounds, seconds), bars(samples), why(samples)
    )


async def _sample(door: Door, visitor: Visitor, seconds: float) -> Sample:
    loop = asyncio.get_running_loop()
    echo = _Echo(visitor)
    clients: list[_Client] = []
    try:
        for _ in range(CONNECTIONS):
            _, client = await loop.create_connection(lambda: _Client(echo), "127.0.0.1", door.port)
            clients.append(client)
            await client.opened()
        meter = CpuMeter(door.processes)
        start_ns = monotonic_ns()
        for client in clients:
            client.send()
        await echo.failed_within(seconds)
        passed_ns = monotonic_ns() - start_ns
    except BenchError as error:
        raise BenchError(f"{door.name}: {error}") from None
    finally:
        echo.is_over = True
        for client in clients:
            client.close()
    ordered = sorted(echo.took_ns)
    return Sample(
        per_second=len(ordered) / passed_ns * 1e9,
        p50_ms=percentile(ordered, 0.50) / _MILLISECOND_NS,
        p99_ms=percentile(ordered, 0.99) / _MILLISECOND_NS,
        cpu_microseconds=meter.microseconds_each(len(ordered)),
    )


class _Echo:
    """What the connections of one measurement share."""

    def __init__(self, visitor: Visitor) -> None:
        self.request = Exchange(visitor).upgrade(frames.KEY)
        self.took_ns = array("q")
        self.number = 0
        self.is_over = False
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fail(self, sentence: str) -> None:
        if not self.is_over and not self._failure.done():
            self._failure.set_exception(BenchError(sentence))

    async def failed_within(self, seconds: float) -> None:
        """Return after `seconds`; raise BenchError at once for a wrong echo."""
        await asyncio.wait({self._failure}, timeout=seconds)
        if self._failure.done():
            await self._failure


class _Client(asyncio.Protocol):
    """One WebSocket."""

    def __init__(self, echo: _Echo) -> None:
        self._echo = echo
        self._received = b""
        self._expected = b""
        self._sent_ns = 0
        self._opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._echo.request)

    async def opened(self) -> None:
        try:
            async with asyncio.timeout(_OPEN_SECONDS_MAX):
                await self._opened
        except TimeoutError:
            raise BenchError("no answer to an upgrade") from None

    def send(self) -> None:
        self._echo.number += 1
        text = frames.payload(self._echo.number)
        self._expected = frames.from_server(text)
        self._sent_ns = monotonic_ns()
        self._transport.write(frames.from_client(text))

    def data_received(self, data: bytes) -> None:
        if not self._opened.done():
            self._open(data)
            return
        self._received += data
        if len(self._received) < frames.SERVER_FRAME_BYTES:
            return
        if self._received != self._expected:
            self._echo.fail(f"a wrong echo: {self._received[:64]!r}")
            return
        self._received = b""
        self._echo.took_ns.append(monotonic_ns() - self._sent_ns)
        if not self._echo.is_over:
            self.send()

    def _open(self, data: bytes) -> None:
        self._received += data
        if not self._received.endswith(b"\r\n\r\n"):
            return
        right = self._received.startswith(b"HTTP/1.1 101 ")
        if right and frames.accept(frames.KEY) in self._received:
            self._opened.set_result(None)
        else:
            self._opened.set_exception(BenchError(f"no WebSocket: {self._received[:200]!r}"))
        self._received = b""

    def connection_lost(self, error: Exception | None) -> None:
        self._echo.fail("a connection was closed")
        if not self._opened.done():
            self._opened.set_exception(BenchError("closed instead of upgraded"))

    def close(self) -> None:
        self._transport.abort()


# ── what it comes to; pure ───────────────────────────────────────────────────


def parts(samples: Samples, rounds: int, seconds: float) -> list[str]:
    """Return the section's paragraphs and tables."""
    nginx = _per_second(samples, NGINX)
    return [
        f"{frames.PAYLOAD_BYTES} byte messages on {CONNECTIONS} connections; medians of {rounds} "
        f"rounds of {seconds:g} s, in brackets least and most. Every echo was compared. "
        "Latency is at full load; CPU is what the door's own processes used per round trip.",
        table(
            ("way in", "round trips/s", "of nginx", "p50 ms", "p99 ms", "µs CPU a round trip"),
            [
                (
                    name,
                    f"{_per_second(samples, name):.0f} ({min(one.per_second for one in each):.0f}–"
                    f"{max(one.per_second for one in each):.0f})",
                    f"{_per_second(samples, name) / nginx:.2f}×",
                    f"{spread(one.p50_ms for one in each).median:.2f}",
                    f"{spread(one.p99_ms for one in each).median:.2f}",
                    _cpu(each),
                )
                for name, each in samples.items()
            ],
        ),
    ]


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    of_nginx = _per_second(samples, OURS) / _per_second(samples, NGINX)
    return [Bar(f"at least {OF_NGINX:.2f}× nginx's rate", f"{of_nginx:.2f}×", of_nginx >= OF_NGINX)]


def why(samples: Samples) -> str:
    """Return what explains a rate below the bar."""
    return (
        f"A round trip costs {_cpu(samples[OURS])} µs of CPU in our two processes and "
        f"{_cpu(samples[NGINX])} in nginx; client and tool, which alone make "
        f"{_per_second(samples, DIRECT):.0f}/s, share {os.cpu_count()} cores with them."
    )


def _per_second(samples: Samples, name: str) -> float:
    return spread(one.per_second for one in samples[name]).median


def _cpu(samples: Sequence[Sample]) -> str:
    names = samples[0].cpu_microseconds
    medians = [spread(each.cpu_microseconds[name] for each in samples).median for name in names]
    return " + ".join(f"{median:.0f}" for median in medians) or "–"
