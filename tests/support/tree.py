"""The files of the project, as version control sees them: for tests about the tree itself."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAMS = ("agent", "checkpoints", "common", "connect_proxy", "control_plane", "studios")


@cache
def files() -> tuple[Path, ...]:
    """Return every file that is, or could be, committed; relative to the root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    paths = (Path(name) for name in listed.stdout.decode().split("\0") if name)
    return tuple(sorted(path for path in paths if (ROOT / path).is_file()))


def text(path: Path) -> str:
    """Return a file's content; binary files as they come, so that needles are found in them too."""
    return (ROOT / path).read_text(encoding="utf-8", errors="replace")
