"""Programs run to their end: how long they took, and how much CPU time."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.processes import child

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_SECONDS_MAX = 900.0  # what takes longer hangs
_BILLION = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one step. All processors' CPU time counts, but not that of a store's server."""

    seconds: float
    cpu_seconds: float


async def run(
    name: str, *command: str, log_folder: Path, within: Path, environment: Mapping[str, str]
) -> Cost:
    """Run a command in the folder `within`. Raises BenchError, with its last words, if it fails."""
    before, begun_ns = _cpu_seconds(), monotonic_ns()
    moved = ("env", f"--chdir={os.fspath(within)}", *command)
    async with child(name, *moved, folder=log_folder, **environment) as process:
        await process.succeeded(seconds_max=_SECONDS_MAX)
        seconds = (monotonic_ns() - begun_ns) / _BILLION
    return Cost(seconds, _cpu_seconds() - before)


def _cpu_seconds() -> float:
    """Return what all children used that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
