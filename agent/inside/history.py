"""What was saved and when: the pages of `studio save` and `studio history`, as text. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.inside.lateness import age_seconds, warnings
from agent.inside.phrases import (
    at,
    at_exactly,
    count,
    duration,
    printable,
    sentence,
    size,
    table,
    took,
    zone_name,
)
from agent.inside.view import ENDING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, tzinfo

    from agent.checkpointing.captures import Commit
    from agent.inside.saving import Kept
    from agent.inside.view import View
    from common.messages import CheckpointStatus

NO_CHECKPOINT = (
    "This session has no checkpoint: its files stay on this machine, and nothing saves them "
    "elsewhere. Copy what you can't lose to another one."
)
_HEADINGS = ("No.", "Saved as of", "Files", "Size", "New", "Took")
_GAP = "  "


def saved_text(kept: Kept, now: datetime, zone: tzinfo) -> str:
    """Return what is safe now, and since when."""
    when = f"{at_exactly(kept.committed_at, now, zone)} {zone_name(kept.committed_at, zone)}"
    all_of_it = f"{_files(kept.entries)}, {size(kept.file_bytes)}"
    if kept.new is None:
        text = f"Nothing had changed: {all_of_it} are saved, as they were at {when}."
    else:
        text = (
            f"Saved: {all_of_it}; {size(kept.new.saved.stored_bytes)} were new. "
            f"It took {took(kept.new.seconds)}, and holds all that was there at {when}."
        )
    return f"{text} {_torn(kept.torn_files)}" if kept.torn_files else text


def not_saved_text(reason: str, view: View) -> str:
    """Return why nothing could be saved now, what is safe all the same, and what comes next."""
    checkpoint = view.report.checkpoint
    if checkpoint is None:
        return NO_CHECKPOINT
    parts = [printable(reason)]
    if checkpoint.committed_at is None:
        parts.append("Nothing was saved before.")
    else:
        when = at_exactly(checkpoint.committed_at, view.now, view.zone)
        zone = zone_name(checkpoint.committed_at, view.zone)
        parts.append(f"What was there at {when} {zone} is safe.")
    if view.report.phase not in ENDING:
        parts.append("It is tried again by itself: see `studio history`.")
    return " ".join(parts)


def history_text(view: View) -> str:
    """Return what the session began with, when its files were saved since, what is at risk."""
    checkpoint = view.report.checkpoint
    if checkpoint is None:
        return NO_CHECKPOINT
    parts = [table(_beginning(view, checkpoint))]
    if view.commits:
        parts.append(_commits(view.commits, view.now, view.zone))
    parts.append("\n".join(printable(line) for line in _ending(view, checkpoint)))
    return "\n\n".join(parts)


def _beginning(view: View, checkpoint: CheckpointStatus) -> list[tuple[str, str]]:
    rows = [("Checkpoint", checkpoint.id)]
    if checkpoint.parent_id is None:
        rows.append(("Began with", "the image, and nothing saved before"))
    else:
        rows.append(("Began with", f"the files of checkpoint {checkpoint.parent_id}"))
    earlier = view.report.earlier_checkpoint
    if earlier is not None and earlier.committed_at is not None:
        when = at(earlier.committed_at, view.now, view.zone)
        left = f"what the session before had left unsaved, as checkpoint {earlier.id}, at {when}"
        rows.append(("Saved then", left))
    return rows


def _commits(commits: Sequence[Commit], now: datetime, zone: tzinfo) -> str:
    rows = [_HEADINGS, *(_row(commit, now, zone) for commit in commits)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        _GAP.join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in rows
    ]
    return "\n".join(lines)


def _row(commit: Commit, now: datetime, zone: tzinfo) -> tuple[str, ...]:
    saved = commit.saved
    return (
        str(saved.generation),
        at_exactly(commit.began_at, now, zone),
        count(saved.entries),
        size(saved.file_bytes),
        size(saved.stored_bytes),
        took(commit.seconds),
    )


def _ending(view: View, checkpoint: CheckpointStatus) -> list[str]:
    lines = [f"Times are in {zone_name(view.now, view.zone)}. {_at_risk(view, checkpoint)}"]
    if checkpoint.torn_files:
        lines.append(_torn(checkpoint.torn_files))
    lines += warnings(view)[len(view.report.warnings) :]
    return lines


def _at_risk(view: View, checkpoint: CheckpointStatus) -> str:
    age = age_seconds(view)
    if age is None or checkpoint.committed_at is None:
        return "If this machine were lost now, all that this session has changed would be lost."
    since = at_exactly(checkpoint.committed_at, view.now, view.zone)
    return (
        f"If this machine were lost now, what was changed since {since} ({duration(age)} ago) "
        "would be lost."
    )


def _files(entries: int) -> str:
    return "1 file or folder" if entries == 1 else f"{count(entries)} files and folders"


def _torn(files: int) -> str:
    subject = "One file" if files == 1 else f"{count(files)} files"
    return sentence(
        f"{subject} changed while being read, so that what is saved of them may be of no single "
        "moment: `studio save` again when nothing writes to them"
    )
