"""When a volume grows, by how much, and how long to wait before looking again. Pure.

The promise is that a program never gets ENOSPC before the volume is at its limit, however fast it
writes. Looking every second can't keep it: a writer at 1.6 GB/s uses up the gigabyte that is kept
free in 0.6 s. So the pause follows two rates:

- the *fill rate* seen: look again when a quarter of what is kept free would be used;
- a *burst* that starts right after the look: nobody, at `BURST_BYTES_PER_SECOND`, may use more than
  half of what is free before the next look.

An idle volume with gigabytes free is looked at once a second; one that fills up, every 10 ms.

What one decision leaves for the next is a `Memory`: the fill rate, and growths that failed. Nothing
in it counts steps: the size is what was measured, so a failed growth can't be counted as grown.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.volume.volume import Space
    from common.session_spec import VolumeLimits

PAUSE_SECONDS_MIN = 0.01
PAUSE_SECONDS_MAX = 1.0
PAUSE_SECONDS_FULL = 2.0
"""At the limit somebody is deleting files and waits for the status to say so."""
BURST_BYTES_PER_SECOND = 2 * 1024**3
"""Faster than writers were seen: `dd` fills the page cache with 0.8 to 1.6 GB/s."""

RATE_HALF_LIFE_SECONDS = 0.25
"""A rate that is not seen any more is forgotten by half in this time: writers pause for the disk,
and go on."""
LEAD_SECONDS = 0.25
"""A growth makes room for this long at the present rate besides the minimum: the growth itself
takes up to 40 ms, several times that when the disk is busy."""

METADATA_SHARE = 16
"""The minimum of room for metadata is this part of the free space's: 64 MB of a gigabyte, names and
small files for minutes of unpacking."""

RETRY_SECONDS_FIRST = 0.25
RETRY_SECONDS_MAX = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One measurement."""

    at_seconds: float
    """Monotonic."""
    space: Space


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered between decisions."""

    last: Sample | None = None
    fill_rate: float = 0.0
    """Bytes per second."""
    failures: int = 0
    """Growths that failed, in a row."""
    retry_at_seconds: float = 0.0
    failure: str = ""
    """Why the last of them did; empty once one succeeded or there is room again."""


@dataclass(frozen=True, slots=True)
class Grow:
    """Add this many steps now."""

    steps: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again after this pause."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Full:
    """There is less room than there should be, and no more to be had."""

    reason: str


Decision = Grow | Wait | Full


def decide(limits: VolumeLimits, memory: Memory, sample: Sample) -> tuple[Memory, Decision]:
    """Return what to do, and what to remember."""
    rate = fill_rate(memory, sample)
    memory = replace(memory, last=sample, fill_rate=rate)
    if not is_short(limits, sample.space):
        memory = replace(memory, failures=0, failure="", retry_at_seconds=0.0)
        return memory, Wait(pause(limits, sample.space, rate))
    if sample.space.size_bytes >= limits.limit_bytes:
        return memory, Full(full_reason(limits, sample.space))
    if sample.at_seconds < memory.retry_at_seconds:
        return memory, Wait(_clamped(memory.retry_at_seconds - sample.at_seconds))
    return memory, Grow(steps(limits, sample.space, rate))


def failed(memory: Memory, at_seconds: float, reason: str, *, retry_helps: bool) -> Memory:
    """Return what to remember of a growth that failed: when to try again, and why it did."""
    seconds = RETRY_SECONDS_MAX
    if retry_helps:
        doublings = min(memory.failures, 16)  # the maximum is long reached; no huge numbers
        seconds = min(RETRY_SECONDS_FIRST * 2**doublings, RETRY_SECONDS_MAX)
    return replace(
        memory,
        failures=memory.failures + 1,
        failure=reason,
        retry_at_seconds=at_seconds + seconds,
    )


def grown(memory: Memory) -> Memory:
    """Return what to remember of a growth that succeeded."""
    return replace(memory, failures=0, failure="", retry_at_seconds=0.0)


def is_short(limits: VolumeLimits, space: Space) -> bool:
    """Say whether there is less room than there should be, for data or for names."""
    return space.true_free_bytes < limits.free_bytes_min or lacks_metadata(limits, space)


def lacks_metadata(limits: VolumeLimits, space: Space) -> bool:
    return space.metadata_free_bytes < limits.free_bytes_min // METADATA_SHARE


def fill_rate(memory: Memory, sample: Sample) -> float:
    """Return the rate in bytes per second: what was seen just now, or before, half forgotten."""
    if memory.last is None or sample.at_seconds <= memory.last.at_seconds:
        return memory.fill_rate
    elapsed = sample.at_seconds - memory.last.at_seconds
    seen = (_used(sample.space) - _used(memory.last.space)) / elapsed
    return max(seen, memory.fill_rate * math.exp2(-elapsed / RATE_HALF_LIFE_SECONDS), 0.0)


def steps(limits: VolumeLimits, space: Space, rate: float) -> int:
    """Return how many steps make room for the minimum and for what comes while growing."""
    missing = limits.free_bytes_min + rate * LEAD_SECONDS - space.true_free_bytes
    left = limits.limit_bytes - space.size_bytes
    wanted = max(1, math.ceil(missing / limits.step_bytes))
    return min(wanted, math.ceil(left / limits.step_bytes))


def pause(limits: VolumeLimits, space: Space, rate: float) -> float:
    """Return how long nobody need look."""
    if space.size_bytes >= limits.limit_bytes:
        return PAUSE_SECONDS_MAX  # nothing could be done about it
    free = space.true_free_bytes
    after_burst = free / 2 / max(rate, BURST_BYTES_PER_SECOND)
    until_low = free - limits.free_bytes_min * 3 / 4
    after_filling = until_low / rate if rate > 0 else PAUSE_SECONDS_MAX
    return _clamped(min(after_burst, after_filling))


def full_reason(limits: VolumeLimits, space: Space) -> str:
    """Say it to the user. Holds no number that changes with every file."""
    limit = f"the volume is at its limit of {gigabytes(limits.limit_bytes)}"
    if space.true_free_bytes < limits.free_bytes_min:
        least = gigabytes(limits.free_bytes_min)
        return f"{limit} and less than {least} of it is free: delete files to go on"
    return f"{limit} and has little room for more files and folders: delete some to go on"


def host_warning(space: Space) -> str:
    """Say that the host's disk can't keep what the volume promises; empty while it can."""
    if space.host_free_bytes >= space.true_free_bytes:
        return ""
    return (
        "the host's disk is nearly full: less can be written than the volume shows as free, "
        "and files written beyond that are lost"
    )


def gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1024**3:.3g} GB"


def _used(space: Space) -> int:
    return space.size_bytes - space.true_free_bytes


def _clamped(seconds: float) -> float:
    return min(max(seconds, PAUSE_SECONDS_MIN), PAUSE_SECONDS_MAX)
