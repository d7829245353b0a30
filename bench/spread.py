"""Medians and percentiles. Pure."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True)
class Spread:
    """What several rounds gave."""

    median: float
    least: float
    most: float


def spread(values: Iterable[float]) -> Spread:
    known = sorted(values)
    return Spread(statistics.median(known), known[0], known[-1])


def percentile(ordered: Sequence[float], part: float) -> float:
    """Return the smallest of the `ordered` values that at least `part` of them don't exceed."""
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
