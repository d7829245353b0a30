"""How text for people writes tables, times, durations, sizes and numbers. Pure.

No colours: what is printed here is read in terminals, logs and notebooks alike. Names of programs
and messages may come from the session itself, so nothing is printed that a terminal would obey.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, tzinfo

_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600
_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_FEW_MIB = 10 * _MIB
"""Below this a decimal tells more than it costs to read."""
_LABEL_WIDTH = 10


def table(lines: Iterable[tuple[str, str]]) -> str:
    """Return one line for each label and its text."""
    return "\n".join(f"{label:<{_LABEL_WIDTH}} {printable(text)}" for label, text in lines)


def printable(text: str) -> str:
    """Replace what could move a cursor, change a title or begin a line of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.replace("\n", " "))


def sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


# ── Time ─────────────────────────────────────────────────────────────────────


def duration(seconds: float) -> str:
    """Return two units at most, rounded down: nobody is promised more time than there is."""
    whole = int(max(seconds, 0))
    if whole < _MINUTE:
        return "less than a minute"
    parts = [
        (whole // _DAY, "d"),
        (whole % _DAY // _HOUR, "h"),
        (whole % _HOUR // _MINUTE, "min"),
    ]
    if whole >= _DAY:
        parts.pop()
    return " ".join(f"{number} {unit}" for number, unit in parts if number)


def took(seconds: float) -> str:
    """Return how long something took, of which tenths of a second may be worth knowing."""
    return f"{seconds:.1f} s" if seconds < _MINUTE else duration(seconds)


def at(when: datetime, now: datetime, zone: tzinfo) -> str:
    """Return the time of day, with the day if that isn't today."""
    local = when.astimezone(zone)
    form = "%H:%M" if _is_same_day(when, now, zone) else "%Y-%m-%d %H:%M"
    return f"{local:{form}} {zone_name(when, zone)}"


def at_exactly(when: datetime, now: datetime, zone: tzinfo) -> str:
    """Return the same to the second and without the zone: for columns that name it elsewhere."""
    local = when.astimezone(zone)
    return f"{local:%H:%M:%S}" if _is_same_day(when, now, zone) else f"{local:%Y-%m-%d %H:%M:%S}"


def zone_name(when: datetime, zone: tzinfo) -> str:
    """Return a name that is the same everywhere: `UTC`, `UTC+2`, `UTC-3:30`."""
    ahead = zone.utcoffset(when) or timedelta()
    if not ahead:
        return "UTC"
    hours, minutes = divmod(abs(ahead) // timedelta(minutes=1), 60)
    sign = "-" if ahead < timedelta() else "+"
    return f"UTC{sign}{hours}" + (f":{minutes:02}" if minutes else "")


def _is_same_day(when: datetime, now: datetime, zone: tzinfo) -> bool:
    return when.astimezone(zone).date() == now.astimezone(zone).date()


# ── Numbers ──────────────────────────────────────────────────────────────────


def size(size_bytes: int) -> str:
    """Return it in the units of `df -h`."""
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.3g} GB"
    if size_bytes >= _FEW_MIB or size_bytes == 0:
        return f"{size_bytes / _MIB:.0f} MB"
    if size_bytes >= _MIB:
        return f"{size_bytes / _MIB:.1f} MB"
    return f"{-(-size_bytes // _KIB)} KB"


def count(number: int) -> str:
    """Return it in groups of three digits."""
    return f"{number:,}".replace(",", " ")
