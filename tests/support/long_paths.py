"""Folders in each other, down to where no path leads that the kernel takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

NAME = "n" * 250
LEVELS_SAVED = 16
"""Of such names: one more, and a path has over 4,095 bytes."""


def make_deep(folder: Path, *, levels: int) -> None:
    """Make so many folders in each other, with a file in the last."""
    at = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir(NAME, dir_fd=at)
        inner = os.open(NAME, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
