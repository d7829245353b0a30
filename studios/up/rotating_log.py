"""The log of a `studios up`: its size is limited while it is written.

Who sends requests that are refused decides how much is logged, so a limit that is looked at only
when the program starts is none: the disk would be full first.
"""

from __future__ import annotations

import io
import os
from contextlib import suppress
from threading import Lock
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from pathlib import Path

LOG_BYTES_MAX = 20 * 1024 * 1024  # weeks of a small installation; one older file is kept


class RotatingLog(io.TextIOBase):
    """A stream of lines into a file that is put aside, as `.log.1`, before it grows too large.

    A log that can't be written, as on a full disk, is no reason to end what is logged about: such
    lines are lost.
    """

    def __init__(self, path: Path, *, bytes_max: int = LOG_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock = Lock()
        self._file = _append_to(path)
        self._size = path.stat().st_size

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        size = len(text.encode(errors="backslashreplace"))
        with self._lock, suppress(OSError):
            if self._size and self._size + size > self._bytes_max:
                self._put_aside()
            self._file.write(text)
            self._size += size
        return len(text)

    def flush(self) -> None:
        with self._lock, suppress(OSError, ValueError):  # ValueError: closed, and flushed by that
            self._file.flush()

    def close(self) -> None:
        with self._lock, suppress(OSError):
            self._file.close()
        super().close()

    def _put_aside(self) -> None:
        self._size = 0  # before anything can fail: it is tried again after as many bytes, not lines
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        fresh = _append_to(self._path)
        self._file.close()
        self._file = fresh


def _append_to(path: Path) -> TextIO:
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    os.fchmod(fd, 0o600)  # one of an earlier version may be open to others
    return os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace", buffering=1)
