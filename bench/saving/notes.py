"""What a watched agent, or a program in its session, noted: instants in ns, and acts. Pure.

All are of the machine's monotonic clock, so those of several processes can be compared.
"""

from __future__ import annotations

from array import array
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bench.processes import BenchError
from bench.spread import percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

STAMP = "Q"
"""How `array` calls the numbers that stamps are kept as."""
_BILLION = 1_000_000_000
_MOST = 0.999


class Window(NamedTuple):
    """A time in which something was done."""

    begin_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / _BILLION


class Act(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the agent did."""

    name: str
    begin_ns: int
    end_ns: int

    @property
    def window(self) -> Window:
        return Window(self.begin_ns, self.end_ns)


class Pause(NamedTuple):
    """How long something that should happen again and again did not."""

    most_of_all_seconds: float
    """What 99.9 % of the gaps don't exceed."""
    longest_seconds: float


def read_stamps(data: bytes) -> Sequence[int]:
    stamps = array(STAMP)
    stamps.frombytes(data)
    return stamps


def pause(stamps: Sequence[int], windows: Iterable[Window]) -> Pause:
    """Return what the gaps come to that any of the windows touches."""
    times = tuple(windows)
    gaps = sorted(
        (after - before) / _BILLION
        for before, after in pairwise(stamps)
        if any(before < window.end_ns and after > window.begin_ns for window in times)
    )
    if not gaps:
        raise BenchError("nothing was noted of a time that was to be watched")
    return Pause(percentile(gaps, _MOST), gaps[-1])


class Notes(msgspec.Struct, frozen=True, kw_only=True):
    """Of one agent, from the first round of its event loop to the last."""

    ticks: bytes
    """When the loop called a ticker that was due every few milliseconds."""
    acts: tuple[Act, ...]
    """In the order of their ends."""

    def of(self, name: str, within: Window) -> Act:
        """Return the first act of that name that began in a window. Raise BenchError."""
        for act in self.acts:
            if act.name == name and within.begin_ns <= act.begin_ns <= within.end_ns:
                return act
        raise BenchError(f"the agent did no {name} when it was to")

    def loop_pause(self, windows: Iterable[Window]) -> Pause:
        """Return how long the event loop did not come round."""
        return pause(read_stamps(self.ticks), windows)
