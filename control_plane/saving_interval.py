"""How often sessions are saved by themselves: as an administrator writes it, and within bounds."""

from __future__ import annotations

import re

INTERVAL_SECONDS_MIN = 30.0
"""A shorter one would save little more, and make the store's operations a cost of their own."""
INTERVAL_SECONDS_MAX = 24 * 3600.0
"""A longer one is no promise any more."""

_UNITS = {"s": 1, "min": 60, "h": 3600}
_INTERVAL = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(s|min|h)", re.ASCII)


def parse_interval(text: str) -> float:
    """Return the seconds that `5 min`, `90 s` or `1.5 h` are; raises ValueError with a sentence."""
    match = _INTERVAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a time: write it like 5 min, 90 s or 1 h.")
    seconds = float(match[1]) * _UNITS[match[2]]
    if not INTERVAL_SECONDS_MIN <= seconds <= INTERVAL_SECONDS_MAX:
        raise ValueError(f"{text!r} is not between 30 s and 24 h.")
    return seconds
