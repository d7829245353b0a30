"""Keeps a jump of the calendar from ending sessions by surprise.

A deadline is calendar time and stays so: people read it. But when the calendar jumps (NTP corrects
a wrong clock, a laptop wakes up) many deadlines may pass at once that nobody saw coming, and one
that jumps ahead may jump back. So after a jump no lifespan ends for five minutes of monotonic time:
long enough to extend, or for the clock to be put right; a session that lives five minutes longer
costs little, one that is stopped wrongly costs a person's work. A jump back only moves every
deadline further away, which is what its calendar time says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

JUMP_SECONDS = 60.0
"""Clocks under NTP are slewed by milliseconds; a minute is not drift."""


@dataclass(frozen=True, slots=True)
class CalendarHold:
    """What the clocks showed last, and until when (monotonic) deadlines are held."""

    offset_seconds: float
    """Calendar minus monotonic: constant but for jumps."""
    held_until: float = float("-inf")


def look(
    hold: CalendarHold | None, now: datetime, monotonic: float, *, hold_seconds: float
) -> CalendarHold:
    """Take in what the clocks show now; None is the first look of a process."""
    offset = now.timestamp() - monotonic
    if hold is None:
        return CalendarHold(offset)
    jumped = abs(offset - hold.offset_seconds) >= JUMP_SECONDS
    return CalendarHold(offset, monotonic + hold_seconds if jumped else hold.held_until)
