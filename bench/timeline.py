"""When an agent did what, from the events it logs. Pure."""

from __future__ import annotations

import itertools
from datetime import datetime

import msgspec

from bench.processes import BenchError

_STEPS = (
    ("agent_started", "interpreter and imports"),
    ("volume_image_ready", "volume made"),
    ("volume_attached", "volume attached"),
    ("session_root_mounted", "limits, network, root"),
    ("session_root_ready", "first process"),
    ("tool_started", "order to start"),
    ("tool_ready", "tool, until it answers"),
)
"""In this order; each name is of the time before the event."""
REPORT = "report of it"

STEP_NAMES = (*(name for _, name in _STEPS), REPORT)


class _Line(msgspec.Struct, frozen=True, kw_only=True):
    event: str
    timestamp: datetime


def parts(log: str, begun: datetime, running_seconds: float) -> dict[str, float]:
    """Return how many seconds each step of a start took; they add up to `running_seconds`.

    Raise BenchError if the log doesn't have all of them.
    """
    seen = {"": begun}
    for text in log.splitlines():
        line = msgspec.json.decode(text, type=_Line)
        seen.setdefault(line.event, line.timestamp)
    events = ["", *(event for event, _ in _STEPS)]
    if missing := [event for event in events if event not in seen]:
        raise BenchError(f"the agent logged no {', '.join(missing)}")
    names = [name for _, name in _STEPS]
    steps = {
        name: (seen[after] - seen[before]).total_seconds()
        for name, (before, after) in zip(names, itertools.pairwise(events), strict=True)
    }
    return {**steps, REPORT: running_seconds - sum(steps.values())}
