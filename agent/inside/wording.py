"""The pages as text for people, in UTC and in the units of `df -h`. Pure.

No colours: what is printed here is read in terminals, logs and notebooks alike. Names of programs
and messages may come from the session itself, so nothing is printed that a terminal would obey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.messages import RunPhase, ToolPhase

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from agent.inside.view import View
    from common.messages import VolumeStatus
    from common.session_spec import VolumeLimits

_MINUTE, _HOUR, _DAY = 60, 3600, 24 * 3600
_MIB, _GIB = 1024**2, 1024**3
_UNMEASURED = "not measured yet"
_LABEL_WIDTH = 10
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
_ENDING = {RunPhase.STOPPING, RunPhase.STOPPED, RunPhase.FAILED, RunPhase.SUPERSEDED}


def status_text(view: View) -> str:
    """Return what runs here, until when, and what one should know."""
    report = view.report
    run = f"{report.session_id}, run {report.run_number}, since {_at(view.since, view.now)}"
    lines = [
        ("Studio", view.studio_name),
        ("Session", f"{run} ({_duration((view.now - view.since).total_seconds())})"),
        ("End", _end(view)),
        ("Tool", _tool(view)),
        ("Volume", _volume_in_short(report.volume, view.limits)),
        *(("Warning", warning) for warning in report.warnings),
    ]
    return _table(lines)


def space_text(view: View) -> str:
    """Return how full the volume is, how it grows, and what to do."""
    volume, limits = view.report.volume, view.limits
    if volume is None:
        return "The session's volume has not been measured yet."
    used = volume.size_bytes - volume.free_bytes
    rows = [("Limit", _size(volume.limit_bytes))]
    if volume.size_bytes:
        share = 100 * used // volume.size_bytes
        rows = [
            ("Size", _size(volume.size_bytes)),
            ("Used", f"{_size(used)} ({share} %)"),
            ("Free", _size(volume.free_bytes)),
            *rows,
        ]
    advice = [_sentence(volume.message)] if volume.message else []
    advice.append(_growth(volume, limits))
    if volume.full or volume.message:
        advice += _ADVICE
    return "\n".join([_table(rows), "", *map(_printable, advice)])


def extended_text(deadline: datetime, now: datetime) -> str:
    """Return the answer to an extension."""
    left = _duration((deadline - now).total_seconds())
    return f"The session now stops in {left}, at {_at(deadline, now)}."


# ── Lines ────────────────────────────────────────────────────────────────────


def _end(view: View) -> str:
    if view.report.phase in _ENDING:
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
    return f"stops in {_duration(left)}, at {_at(deadline, view.now)}: extend with `studio extend`"


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
    used = _size(volume.size_bytes - volume.free_bytes)
    line = f"{used} of {_size(volume.size_bytes)} used"
    if volume.full:
        return f"{line}, full: see `studio space`"
    if volume.size_bytes >= volume.limit_bytes:
        return f"{line}, as large as it may be"
    return f"{line}, grows up to {_size(volume.limit_bytes)}"


def _growth(volume: VolumeStatus, limits: VolumeLimits) -> str:
    limit = _size(volume.limit_bytes)
    if volume.size_bytes >= volume.limit_bytes:
        return f"It is as large as it may be: {limit}."
    least, step = _size(limits.free_bytes_min), _size(limits.step_bytes)
    return f"It grows by {step} when less than {least} is free, up to {limit}."


# ── Words ────────────────────────────────────────────────────────────────────


def _table(lines: Iterable[tuple[str, str]]) -> str:
    return "\n".join(f"{label:<{_LABEL_WIDTH}} {_printable(text)}" for label, text in lines)


def _printable(text: str) -> str:
    """Replace what could move a cursor, change a title or begin a line of its own."""
    return "".join(letter if letter.isprintable() else "?" for letter in text.replace("\n", " "))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def _duration(seconds: float) -> str:
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


def _at(when: datetime, now: datetime) -> str:
    same_day = when.date() == now.date()
    return f"{when:%H:%M} UTC" if same_day else f"{when:%Y-%m-%d %H:%M} UTC"


def _size(size_bytes: int) -> str:
    if size_bytes >= _GIB:
        return f"{size_bytes / _GIB:.3g} GB"
    return f"{size_bytes / _MIB:.0f} MB"
