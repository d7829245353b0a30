"""Which folders of this machine a session of the `local` engine sees, as far as we decide it.

Such a session's image is the machine's own `/`. What is nobody's business on any machine (homes,
keys, engines' data) its agent hides; what the platform keeps on this one is known only here. And a
session sees nothing that is mounted below `/`, but what somebody has asked for: that is *carried*.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

PROJECT = Path(__file__).resolve().parents[2]
MADE_AFRESH = ("/dev", "/proc", "/run", "/sys")
"""Every session has its own. The machine's /run would bring sockets that are root on it."""
_SHARED_BY_ALL = {"site-packages", "dist-packages"}


def program_folders() -> tuple[Path, ...]:
    """Return where this program and its packages lie.

    Without a virtual environment they lie among the packages of the machine's Python, which the
    session needs, too; then nothing of them is hidden, and nothing of them is secret.
    """
    checkout = () if PROJECT.name in _SHARED_BY_ALL else (PROJECT,)
    return checkout if sys.prefix == sys.base_prefix else (*checkout, Path(sys.prefix))


def work_folder(work_dir: str) -> Path | None:
    """Return the folder of a work directory that lies on this machine."""
    parts = urlsplit(work_dir)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def real_paths(folders: Iterable[Path]) -> tuple[str, ...]:
    """Return the folders without links, each once: hidden is hidden where it really is."""
    return tuple(sorted({os.path.realpath(folder) for folder in folders}))


def hiding(path: str, hidden: Iterable[str]) -> str | None:
    """Return the folder among `hidden` in which a path lies, under its own name or its real one."""
    names = {os.path.normpath(path), os.path.realpath(path)}
    return next((f for f in hidden if any(_is_within(name, f) for name in names)), None)


def problem_of_carried(path: str, kept: Iterable[Path]) -> str | None:
    """Say why a folder can't be carried into sessions; None if it can.

    `kept` are the folders in which the platform keeps its data and other sessions'.
    """
    if not os.path.isabs(path):
        return f"{path!r} is not an absolute path."
    if not os.path.isdir(path):
        return f"{path} is not a folder of this machine."
    real = os.path.realpath(path)
    if real == "/":
        return "/ is what a session sees already, less what it must not see."
    if within := hiding(real, MADE_AFRESH):
        return f"{path} lies in {within}, which every session has of its own."
    for folder in real_paths(kept):
        if _is_within(real, folder) or _is_within(folder, real):
            return f"{path} would show sessions {folder}, where everybody's data is kept."
    return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
