"""What to look for among a Studio's checkpoints, as people write it. Pure.

`status:interim before:2030-01-31 author:"Ada L" numpy` are those whose run goes on or was lost,
created before that day (UTC), by people with that in their name, with `numpy` in the checkpoint's
own. Words come in any order; of several statuses one is enough, all else must hold.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from control_plane.checkpoint_names import spelled
from control_plane.errors import InvalidError
from control_plane.model_checkpoints import CheckpointState

_WORD = re.compile(r'(?:(status|before|after|author):)?("[^"]*"|\S+)', re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSearch:
    """All must hold; what is empty or None asks for nothing."""

    states: frozenset[CheckpointState] = frozenset()
    created_before: datetime | None = None
    created_after: datetime | None = None
    """Or at that very time."""
    authors: tuple[str, ...] = ()
    words: tuple[str, ...] = ()


def parse_search(text: str) -> CheckpointSearch:
    """Return what is looked for; raises InvalidError naming what can't be read."""
    wanted = CheckpointSearch()
    for key, value in _WORD.findall(text):
        wanted = _with(wanted, key.lower(), value.strip('"'))
    return wanted


def _with(wanted: CheckpointSearch, key: str, value: str) -> CheckpointSearch:
    match key:
        case "status":
            return replace(wanted, states=wanted.states | {_state(value)})
        case "before":
            return replace(wanted, created_before=_time(key, value))
        case "after":
            return replace(wanted, created_after=_time(key, value))
        case "author":
            return replace(wanted, authors=(*wanted.authors, value))
        case _:
            return replace(wanted, words=(*wanted.words, spelled(value)))


def _state(value: str) -> CheckpointState:
    try:
        return CheckpointState(value.lower())
    except ValueError:
        offered = ", ".join(CheckpointState)
        raise InvalidError(f"No checkpoint is “{value}”: use status: with {offered}.") from None


def _time(key: str, value: str) -> datetime:
    try:
        time = datetime.fromisoformat(value)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise InvalidError(
            f"“{value}” is no date: write {key}:2030-01-31, or a time such as 2030-01-31T12:00."
        ) from None
