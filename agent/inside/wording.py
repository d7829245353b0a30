"""The pages about the session as it is now, and the answer to an extension, as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inside.lateness import age_in_short, warnings
from agent.inside.phrases import at, duration, printable, sentence, size, table
from agent.inside.view import ENDING
from common.messages import ToolPhase

if TYPE_CHECKING:
    from datetime import datetime, tzinfo

    from agent.inside.view import View
    from common.messages import VolumeStatus
    from common.session_spec import VolumeLimits

_UNMEASURED = "not measured yet"
_ADVICE = (
    "What takes the most: du -xh --max-depth=3 / 2>/dev/null | sort -h | tail",
    "Deleted files give their room back at once; those in a trash folder don't.",
)
_PHASES = {
    ToolPhase.WAITING: "waits for the session",
    ToolPhase.STARTING: "starts",
    ToolPhase.READY: "runs",
    ToolPhase.BACKING_OFF: "ended and is started again soon",
    ToolPhase.STOPPING: "stops",
    ToolPhase.STOPPED: "has stopped",
    ToolPhase.FAILED: "failed",
}


def status_text(view: View) -> str:
    """Return what runs here, until when, and what one should know."""
    report = view.report
    lived = duration((view.now - view.since).total_seconds())
    since = f"since {at(view.since, view.now, view.zone)} ({lived})"
    lines = [
        ("Studio", view.studio_name),
        ("Session", f"{report.session_id}, run {report.run_number}, {since}"),
        ("End", _end(view)),
        ("Tool", _tool(view)),
        ("Volume", _volume_in_short(report.volume, view.limits)),
        ("Saved", age_in_short(view)),
        *(("Warning", warning) for warning in warnings(view)),
    ]
    return table(lines)


def space_text(view: View) -> str:
    """Return how full the volume is, how it grows, and what to do."""
    volume, limits = view.report.volume, view.limits
    if volume is None:
        return "The session's volume has not been measured yet."
    used = volume.size_bytes - volume.free_bytes
    rows = [("Limit", size(volume.limit_bytes))]
    if volume.size_bytes:
        share = 100 * used // volume.size_bytes
        rows = [
            ("Size", size(volume.size_bytes)),
            ("Used", f"{size(used)} ({share} %)"),
            ("Free", size(volume.free_bytes)),
            *rows,
        ]
    advice = [sentence(volume.message)] if volume.message else []
    advice.append(_growth(volume, limits))
    if volume.full or volume.message:
        advice += _ADVICE
    return "\n".join([table(rows), "", *map(printable, advice)])


def extended_text(deadline: datetime, now: datetime, zone: tzinfo) -> str:
    """Return the answer to an extension."""
    left = duration((deadline - now).total_seconds())
    return f"The session now stops in {left}, at {at(deadline, now, zone)}."


# ── Lines ────────────────────────────────────────────────────────────────────


def _end(view: View) -> str:
    if view.report.phase in ENDING:
        reason = f": {view.report.message}" if view.report.message else ""
        return f"is stopping{reason}"
    if not view.obeyed.version:
        return "not known yet: the control plane has not been heard"
    deadline = view.obeyed.deadline
    if deadline is None:
        return "none: it keeps running until somebody stops it"
    left = (deadline - view.now).total_seconds()
    if left <= 0:
        return "its lifespan is over, it stops any moment: extend with `studio extend`"
    when = at(deadline, view.now, view.zone)
    return f"stops in {duration(left)}, at {when}: extend with `studio extend`"


def _tool(view: View) -> str:
    tool = view.report.tool
    line = f"{view.tool_name} {_PHASES[tool.phase]}"
    if tool.restarts:
        times = "once" if tool.restarts == 1 else f"{tool.restarts} times"
        last = f", the last time after {tool.last_exit}" if tool.last_exit else ""
        line += f" (started again {times}{last})"
    return line


def _volume_in_short(volume: VolumeStatus | None, limits: VolumeLimits) -> str:
    if volume is None or not volume.size_bytes:
        return _UNMEASURED
    used = size(volume.size_bytes - volume.free_bytes)
    line = f"{used} of {size(volume.size_bytes)} used"
    if volume.full:
        return f"{line}, full: see `studio space`"
    if volume.size_bytes >= volume.limit_bytes:
        return f"{line}, as large as it may be"
    return f"{line}, grows up to {size(volume.limit_bytes)}"


def _growth(volume: VolumeStatus, limits: VolumeLimits) -> str:
    limit = size(volume.limit_bytes)
    if volume.size_bytes >= volume.limit_bytes:
        return f"It is as large as it may be: {limit}."
    least, step = size(limits.free_bytes_min), size(limits.step_bytes)
    return f"It grows by {step} when less than {least} is free, up to {limit}."
