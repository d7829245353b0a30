"""How old what a Studio has saved is, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from studios.shapes import Checkpoint, Studio

INTERVALS_MAX = 2
"""One failure that the next attempt makes good concerns nobody."""
CAPTURE_SECONDS = 60.0
"""That saving may take on top."""
UNDER_WAY = ("starting", "running", "stopping")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(seconds: float) -> str:
    """Return `45 s`, `3 min`, `2 h 5 min`, `4 days`."""
    whole = max(0, int(seconds))
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    if whole < 2 * _DAY:
        hours, minutes = divmod(whole // _MINUTE, _MINUTE)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{whole // _DAY} days"


def age(checkpoint: Checkpoint, now: datetime) -> str:
    """Return how long ago files were safe: `3 min ago`; empty before they first are."""
    if checkpoint.date_saved is None:
        return ""
    return f"{duration((now - checkpoint.date_saved).total_seconds())} ago"


def current(studio: Studio) -> Checkpoint | None:
    """Return what the session under way saves to."""
    checkpoint = studio.checkpoint
    if checkpoint is None or studio.status not in UNDER_WAY:
        return None
    return checkpoint if checkpoint.run_number == studio.run_number else None


def in_short(studio: Studio, now: datetime) -> str:
    """Return it as one line; empty for a Studio that never saved anything and isn't to."""
    checkpoint = studio.checkpoint
    if checkpoint is None:
        return ""
    said = age(checkpoint, now)
    if current(studio) is None:
        rest = "; what came later is on that session's machine only"
        return said + (rest if said and checkpoint.status == "interim" else "")
    return (said or "nothing yet") + (", and being saved now" if checkpoint.saving else "")


def lateness(studio: Studio, now: datetime) -> str:
    """Return why a running Studio's files are older than they should be; empty if all is well."""
    checkpoint = current(studio)
    if checkpoint is None or studio.status != "running":
        return ""
    since = checkpoint.date_saved or checkpoint.date_created
    usual = INTERVALS_MAX * studio.checkpoint_interval_seconds + CAPTURE_SECONDS
    if since is None or (seconds := (now - since).total_seconds()) <= usual:
        return ""
    said = "None of the files have been saved yet."
    if checkpoint.date_saved is not None:
        said = f"What was changed in the last {duration(seconds)} is not saved."
    if checkpoint.message:
        said += f" {sentence(checkpoint.message)} It is tried again by itself."
    return said


def sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else f"{text}."
