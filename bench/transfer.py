"""One large download, then one large upload, every byte compared.

Client and tool work through the same bytes for every door, and share the machine's cores with it:
the direct way shows how much of a transfer is theirs.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING, cast

from bench import pattern
from bench.doors import DIRECT, NGINX, OURS, open_doors, stream_tool
from bench.exchange import Exchange
from bench.processes import BenchError
from bench.results import Bar, Findings, table
from bench.spread import Spread, spread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from bench.doors import Door
    from bench.exchange import Visitor

TRANSFER_BYTES = 1_000_000_000
_WARM_UP_BYTES = 50_000_000
_SECONDS_MAX = 120.0
_WRITE_BUFFER_BYTES = 1024 * 1024
_MB = 1e6
_GB = 1e9

GB_PER_SECOND = 1.0
MEMORY_GROWTH_MB = 20.0
"""Buffers of one transfer are below 1 MiB on each side; what allocators keep comes on top."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One door in one round; `growth_mb` is how much the door's memory peak rose."""

    download: float
    upload: float
    growth_mb: float


Samples = dict[str, list[Sample]]


async def run(rounds: int, seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure; `seconds` has no meaning here: the sizes are fixed."""
    del seconds
    async with open_doors(stream_tool) as doors:
        for door in doors.every:
            await _sample(door, doors.visitor, _WARM_UP_BYTES)
        samples: Samples = {door.name: [] for door in doors.every}
        for number, door in doors.interleaved(rounds):
            sample = await _sample(door, doors.visitor, TRANSFER_BYTES)
            samples[door.name].append(sample)
            say(
                f"round {number}/{rounds}  {door.name:24} "
                f"down {sample.download:.2f} up {sample.upload:.2f} GB/s"
            )
    return Findings("One large transfer", parts(samples, rounds), bars(samples), why(samples))


async def _sample(door: Door, visitor: Visitor, size_bytes: int) -> Sample:
    before = sum(process.memory_peak_bytes() for process in door.processes.values())
    download = await _timed(door, Exchange(visitor).download(size_bytes), size_bytes, 0)
    upload = await _timed(door, Exchange(visitor).upload(size_bytes), 0, size_bytes)
    after = sum(process.memory_peak_bytes() for process in door.processes.values())
    return Sample(download, upload, (after - before) / _MB)


async def _timed(door: Door, head: bytes, down_bytes: int, up_bytes: int) -> float:
    """Return gigabytes per second of one exchange. Raises BenchError for any wrong byte."""
    loop = asyncio.get_running_loop()
    body = pattern.pieces(up_bytes)
    done: asyncio.Future[None] = loop.create_future()
    start_ns = monotonic_ns()
    _, client = await loop.create_connection(
        lambda: _Client(head, body, down_bytes, up_bytes, done), "127.0.0.1", door.port
    )
    try:
        async with asyncio.timeout(_SECONDS_MAX):
            await done
    except TimeoutError:
        raise BenchError(f"{door.name}: the transfer takes too long") from None
    except BenchError as error:
        raise BenchError(f"{door.name}: {error}") from None
    finally:
        client.close()
    return (down_bytes + up_bytes) / (monotonic_ns() - start_ns)


class _Client(asyncio.Protocol):
    """Sends `head` and `body`, then takes one response."""

    def __init__(
        self,
        head: bytes,
        body: Iterator[memoryview],
        down_bytes: int,
        up_bytes: int,
        done: asyncio.Future[None],
    ) -> None:
        self._head = head
        self._body = body
        self._receipt = b"%d" % up_bytes if up_bytes else b""
        self._down_bytes = down_bytes
        self._done = done
        self._received = b""
        self._position = -1
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)
        self._transport.write(self._head)
        self._send()

    def _send(self) -> None:
        while self._writable and (piece := next(self._body, None)) is not None:
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send()

    def data_received(self, data: bytes) -> None:
        if self._position >= 0:
            self._body_bytes(data)
            return
        self._received += data
        head, end, early = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        if not head.startswith(b"HTTP/1.1 200 "):
            self._fail(f"wrong response {head.splitlines()[0]!r}")
            return
        self._position, self._received = 0, b""
        self._body_bytes(early)

    def _body_bytes(self, data: bytes) -> None:
        if self._receipt:
            self._received += data
            if self._received == self._receipt:
                self._finish()
            elif not self._receipt.startswith(self._received):
                self._fail(f"the tool received {self._received!r} instead of {self._receipt!r}")
            return
        if not pattern.is_right(data, self._position):
            self._fail(f"wrong bytes after {self._position}")
        self._position += len(data)
        if self._position == self._down_bytes:
            self._finish()

    def _finish(self) -> None:
        if not self._done.done():
            self._done.set_result(None)

    def _fail(self, sentence: str) -> None:
        if not self._done.done():
            self._done.set_exception(BenchError(sentence))

    def connection_lost(self, error: Exception | None) -> None:
        self._fail(f"the connection was closed after {self._position} bytes")

    def close(self) -> None:
        self._transport.abort()


# ── what it comes to; pure ───────────────────────────────────────────────────


def parts(samples: Samples, rounds: int) -> list[str]:
    """Return the section's paragraphs and tables."""
    nginx = _rates(samples, NGINX)
    return [
        f"{TRANSFER_BYTES / _GB:g} GB on one connection; medians of {rounds} rounds, in brackets "
        "least and most. Every byte was compared. Memory is how far the peak of the door's own "
        "processes rose in the largest round.",
        table(
            ("way in", "download GB/s", "of nginx", "upload GB/s", "of nginx", "memory MB"),
            [
                (
                    name,
                    _gigabytes(down),
                    f"{down.median / nginx[0].median:.2f}×",
                    _gigabytes(up),
                    f"{up.median / nginx[1].median:.2f}×",
                    "–" if name == DIRECT else f"+{_growth(samples, name):.1f}",
                )
                for name in samples
                for down, up in (_rates(samples, name),)
            ],
        ),
    ]


def bars(samples: Samples) -> list[Bar]:
    """Return what was to be reached, and whether it was."""
    growth = _growth(samples, OURS)
    found = [
        Bar(
            f"memory grows by at most {MEMORY_GROWTH_MB:g} MB",
            f"{growth:.1f} MB",
            growth <= MEMORY_GROWTH_MB,
        )
    ]
    for what, ours, nginx in zip(
        ("download", "upload"), _rates(samples, OURS), _rates(samples, NGINX), strict=True
    ):
        wanted = min(GB_PER_SECOND, nginx.median)
        claim = f"{what} at least {wanted:.2f} GB/s (1, or nginx's rate)"
        found.append(Bar(claim, f"{ours.median:.2f} GB/s", ours.median >= wanted))
    return found


def why(samples: Samples) -> str:
    """Return what explains a rate below the bar."""
    down, up = _rates(samples, DIRECT)
    return (
        f"Client and tool alone reach {down.median:.2f} and {up.median:.2f} GB/s on these "
        f"{os.cpu_count()} cores; each hop copies every byte out of the kernel and back."
    )


def _rates(samples: Samples, name: str) -> tuple[Spread, Spread]:
    each = samples[name]
    return spread(one.download for one in each), spread(one.upload for one in each)


def _growth(samples: Samples, name: str) -> float:
    return max(one.growth_mb for one in samples[name])


def _gigabytes(values: Spread) -> str:
    return f"{values.median:.2f} ({values.least:.2f}–{values.most:.2f})"
