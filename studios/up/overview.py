"""What the status line says. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from studios.output import show_status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from studios.shapes import Studio

_ORDER = ("running", "starting", "stopping", "building", "errored", "buildFailed", "stopped")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def overview(studios: Sequence[Studio]) -> str:
    """Return sessions by status and how many people are connected, without the time."""
    counts = Counter(studio.status for studio in studios)
    parts = [f"{counts[status]} {show_status(status)}" for status in _ORDER if counts[status]]
    people = {person.id for studio in studios for person in studio.active_connections}
    connected = "1 person connected" if len(people) == 1 else f"{len(people)} people connected"
    return " · ".join([*(parts or ["no Studios"]), connected])


def show_uptime(seconds: float) -> str:
    whole = int(seconds)
    if whole < _MINUTE:
        return f"up {whole} s"
    if whole < _HOUR:
        return f"up {whole // _MINUTE} min"
    if whole < _DAY:
        return f"up {whole // _HOUR} h {whole % _HOUR // _MINUTE} min"
    return f"up {whole // _DAY} d {whole % _DAY // _HOUR} h"
