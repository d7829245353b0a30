"""The tool's output on disk: `tool.log` and, once that was full, `tool.log.1` before it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from pathlib import Path

FILE_BYTES_MAX = 8 * 1024 * 1024  # two of them hold days of an IDE's log, and no flood fills a disk
TAIL_BYTES_MAX = 1024 * 1024

_log = structlog.get_logger()


class ToolLog:
    """Appends raw bytes, and keeps at most two files of `bytes_max`.

    Writes go to the page cache of the host's own disk and are not waited for. A disk that refuses
    them (full) costs these lines, never the tool.
    """

    def __init__(self, path: Path, *, bytes_max: int = FILE_BYTES_MAX) -> None:
        self._path = path
        self._older = path.with_name(path.name + ".1")
        self._bytes_max = bytes_max
        self._refused = False
        self._open()

    def _open(self) -> None:
        self._fd = os.open(
            self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, mode=0o600
        )
        self._size = os.fstat(self._fd).st_size

    def write(self, data: bytes) -> None:
        try:
            if self._size + len(data) > self._bytes_max and self._size:
                self._rotate()
            self._size += os.write(self._fd, data)
            self._refused = False
        except OSError as error:
            if not self._refused:
                _log.warning("tool_log_not_written", path=str(self._path), error=str(error))
            self._refused = True

    def _rotate(self) -> None:
        os.replace(self._path, self._older)
        os.close(self._fd)
        self._open()

    def snapshot(self) -> list[tuple[int, int]]:
        """Return (descriptor, size) of both files, oldest first, for `read_tail`.

        Descriptors of their own: what is written or rotated afterwards changes nothing.
        """
        found = []
        for path in (self._older, self._path):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue
            found.append((fd, os.fstat(fd).st_size))
        return found

    def close(self) -> None:
        os.close(self._fd)


def read_tail(snapshot: list[tuple[int, int]], lines: int) -> bytes:
    """Return the last `lines` lines of a snapshot, at most TAIL_BYTES_MAX, and close it.

    Blocking: call it in a thread.
    """
    tail = b""
    try:
        for fd, size in reversed(snapshot):
            wanted = min(size, TAIL_BYTES_MAX - len(tail))
            tail = os.pread(fd, wanted, size - wanted) + tail
    finally:
        for fd, _ in snapshot:
            os.close(fd)
    if lines <= 0:
        return b""
    end = tail[-1:] if tail.endswith(b"\n") else b""
    pieces = tail.removesuffix(b"\n").rsplit(b"\n", lines)
    return b"\n".join(pieces[-lines:]) + end
