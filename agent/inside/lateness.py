"""How long ago the session's files were saved, and whether that is too long. Pure.

Normally it is at most an interval, and the time that a capture takes. `INTERVALS_MAX` of them are
borne in silence, because one failure that the next attempt makes good concerns nobody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inside.phrases import duration, sentence
from common.messages import CheckpointPhase

if TYPE_CHECKING:
    from agent.inside.view import View
    from common.messages import CheckpointStatus

INTERVALS_MAX = 2
CAPTURE_SECONDS = 60.0
"""That a capture may take on top: a gigabyte of new data, over an ordinary line."""


def age_seconds(view: View) -> float | None:
    """Return how old the newest state is that is safe; None before there is one."""
    checkpoint = view.report.checkpoint
    if checkpoint is None or checkpoint.committed_at is None:
        return None
    return max(0.0, (view.now - checkpoint.committed_at).total_seconds())


def warnings(view: View) -> tuple[str, ...]:
    """Return the report's, and one more where what is saved is too old."""
    checkpoint = view.report.checkpoint
    if checkpoint is None or not _is_late(view, checkpoint):
        return view.report.warnings
    return (*view.report.warnings, f"{_since_when(view)} {_why(checkpoint)}")


def age_in_short(view: View) -> str:
    """Return it as the status has it."""
    checkpoint = view.report.checkpoint
    if checkpoint is None:
        return "on this machine only: the session has no checkpoint"
    if checkpoint.phase is CheckpointPhase.FINALIZED:
        return "all of it"
    age = age_seconds(view)
    line = "nothing yet" if age is None else f"{duration(age)} ago"
    return f"{line}, and being saved now" if checkpoint.in_progress else line


def _is_late(view: View, checkpoint: CheckpointStatus) -> bool:
    if checkpoint.phase is CheckpointPhase.FINALIZED:
        return False
    age = age_seconds(view)
    if age is None:
        age = (view.now - view.since).total_seconds()
    interval = view.obeyed.settings.checkpoint_interval_seconds
    return age > INTERVALS_MAX * interval + CAPTURE_SECONDS


def _since_when(view: View) -> str:
    age = age_seconds(view)
    if age is None:
        return "None of the files have been saved yet."
    return f"What was changed in the last {duration(age)} is not saved."


def _why(checkpoint: CheckpointStatus) -> str:
    if checkpoint.message:
        return f"{sentence(checkpoint.message)} It is tried again by itself."
    if checkpoint.in_progress:
        return "It is being saved now, which takes long: there is much of it, or the line is slow."
    return "Save it with `studio save`."
