"""Drives wrk with `wrk.lua`, which checks status and body of every response.

The check costs wrk 2 to 3 microseconds a request, the same for every door.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.exchange import BODY_BYTES
from bench.processes import BenchError, child, find_program
from common.wire import MalformedMessageError, decode

if TYPE_CHECKING:
    from bench.exchange import Visitor

_SCRIPT = Path(__file__).with_name("wrk.lua")
_SUMMARY = "SUMMARY "
_EXAMPLE = "EXAMPLE "


class Summary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `wrk.lua` prints at the end."""

    requests: int
    microseconds: int
    wrong: int
    socket_errors: int
    timeouts: int

    @property
    def per_second(self) -> float:
        return self.requests / self.microseconds * 1e6


def parse(output: str) -> Summary:
    """Return the summary in wrk's output; raises BenchError for anything that isn't flawless."""
    lines = output.splitlines()
    found = [line.removeprefix(_SUMMARY) for line in lines if line.startswith(_SUMMARY)]
    try:
        summary = decode(found[-1], Summary)
    except (IndexError, MalformedMessageError):
        raise BenchError(f"wrk did not say what it measured: {output}") from None
    if summary.wrong or summary.socket_errors or summary.timeouts or not summary.requests:
        example = next((line for line in lines if line.startswith(_EXAMPLE)), "")
        raise BenchError(f"not every response was right: {summary} {example}")
    return summary


async def run(
    port: int, visitor: Visitor, *, seconds: float, connections: int, folder: Path
) -> Summary:
    """Keep `connections` busy for `seconds`, one thread. Raises BenchError unless all is right."""
    command = (
        find_program("wrk"),
        *("--threads", "1", "--connections", str(connections)),
        *("--duration", f"{max(1, round(seconds))}s", "--script", str(_SCRIPT)),
        f"http://127.0.0.1:{port}/",
        *("--", visitor.host, visitor.cookie, str(BODY_BYTES)),
    )
    async with child("wrk", *command, folder=folder) as process:
        await process.ended(seconds_max=seconds * 2 + 10)
    return parse(await asyncio.to_thread((folder / "wrk.log").read_text, errors="replace"))
