"""Reads the end of a log that a session's programs could have replaced by anything."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

BYTES_MAX = 1024 * 1024


def read_end(path: Path, *, tail: int) -> str | None:
    """Return the last lines, within BYTES_MAX; None unless it is a file.

    A link could lead to files of the control plane, and opening a pipe would wait for ever.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        return None
    with open(descriptor, "rb") as file:
        start = max(0, status.st_size - BYTES_MAX)
        file.seek(start)
        lines = file.read(BYTES_MAX).splitlines(keepends=True)
    if start and len(lines) > 1:
        del lines[0]  # cut in the middle
    return b"".join(lines[-tail:] if tail else ()).decode("utf-8", "replace")
