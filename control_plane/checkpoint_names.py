"""What checkpoints are called. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from control_plane.validation import NAME_LENGTH_MAX, has_control, normal

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime


def first_name(studio_name: str, now: datetime, taken: Collection[str]) -> str:
    """Return `<studio-name>_<epoch seconds>`, cut and numbered as need be; none of `taken`."""
    stem = f"_{int(now.timestamp())}"
    number, ending = 1, stem
    while True:
        name = spelled(studio_name)[: NAME_LENGTH_MAX - len(ending)] + ending
        if name not in taken:
            return name
        number += 1
        ending = f"{stem}_{number}"


def spelled(name: str) -> str:
    """Return a name as it is kept: trimmed, in one spelling, spaces as underscores."""
    return "_".join(normal(name).strip().split(" "))


def problems_of_checkpoint_name(name: str) -> list[str]:
    """What is wrong with a name as `spelled` returns it; empty if nothing is."""
    if not name:
        return ["The name is empty: give the checkpoint a name."]
    if len(name) > NAME_LENGTH_MAX:
        return [f"The name has {len(name)} characters: shorten it to {NAME_LENGTH_MAX}."]
    if has_control(name):
        return ["The name contains a control character: use letters, digits and punctuation."]
    return []
