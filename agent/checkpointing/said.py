"""What a process of the agent's own prints, line by line, becomes the agent's log.

It logs as the agent does, one JSON object each line: those are logged again, with their level, and
with what the agent's own records have besides. Anything else is a traceback, or somebody's library.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from typing import Any

import msgspec
import structlog

LINE_BYTES_MAX = 16 * 1024
"""Of a longer one the beginning is logged: no record has more."""
READ_BYTES = 64 * 1024  # per turn of the loop
_OWN = {"timestamp", "level", "event"}
_RENAMED = {"exception": "traceback"}  # else it is taken for a text that is one already

_log = structlog.get_logger()


class Said:
    """`pipe` is what the process's standard output and error become."""

    def __init__(self) -> None:
        """Begin to read; needs a running loop."""
        self._fd, self.pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._fd, False)
        self._partial = b""
        self._last = ""
        self._is_open = self._has_pipe = True
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    @property
    def last_line(self) -> str:
        """The last that was no record of a log: of a traceback, what went wrong."""
        return self._last

    def close_pipe(self) -> None:
        """Leave the other end to the process. Idempotent."""
        if self._has_pipe:
            self._has_pipe = False
            os.close(self.pipe)

    def close(self) -> None:
        """Take what is there, and stop. Idempotent."""
        self.close_pipe()
        while self._is_open and self._read():
            pass
        self._end()

    def _read(self) -> bool:
        """Take one piece; False when there is none, now or for ever."""
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._end()
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[:LINE_BYTES_MAX]
        for line in lines:
            self._hear(line[:LINE_BYTES_MAX])
        return True

    def _end(self) -> None:
        if not self._is_open:
            return
        self._is_open = False
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self._hear(self._partial)

    def _hear(self, line: bytes) -> None:
        record = _record(line)
        if record is not None:
            level = logging.getLevelNamesMapping().get(str(record.get("level")).upper())
            fields = {_RENAMED.get(name, name): record[name] for name in record.keys() - _OWN}
            _log.log(level or logging.WARNING, str(record["event"]), **fields)
        elif text := line.decode(errors="replace").strip():
            self._last = text
            _log.warning("checkpoint_process_said", line=text)


def _record(line: bytes) -> dict[str, Any] | None:
    with contextlib.suppress(msgspec.DecodeError):
        record = msgspec.json.decode(line, type=dict[str, Any])
        return record if "event" in record else None
    return None
