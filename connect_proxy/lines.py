"""Cuts a stream into lines. Pure."""

from __future__ import annotations


class LineCutter:
    """Gives the whole lines among the bytes so far; a line over the limit is dropped whole.

    A reader that raises instead would meet the same line after each reconnection, and never get to
    those behind it.
    """

    def __init__(self, line_bytes_max: int) -> None:
        self._max = line_bytes_max
        self._parts: list[bytes] = []
        self._size = 0
        self.dropped = 0
        """Lines that were too long."""

    def cut(self, data: bytes) -> list[bytes]:
        """Take what arrived; return the lines it completes, without their ends."""
        first, *others = data.split(b"\n")
        self._keep(first)
        lines: list[bytes] = []
        for other in others:
            if self._size > self._max:
                self.dropped += 1
            else:
                lines.append(b"".join(self._parts))
            self._parts, self._size = [], 0
            self._keep(other)
        return lines

    def _keep(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._max:
            self._parts = []
        else:
            self._parts.append(piece)
