"""The last lines of a stream of bytes, readable and bounded whatever arrives. Pure."""

from __future__ import annotations

import re
from collections import deque

LINE_BYTES_MAX = 1000  # forty of them travel in every report of a failed tool

_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor movement
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC: window titles, links
    r"|\x1b[@-Z\\-_]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


def readable(line: bytes) -> str:
    """Return a line as text without terminal control: what a terminal would have left of it."""
    text = _ESCAPES.sub("", line.decode("utf-8", errors="replace"))
    text = text.rstrip("\r").rpartition("\r")[2]  # a progress bar's last state
    return _CONTROLS.sub("", text).expandtabs()


class LastLines:
    """A ring of the newest lines. Of a longer line the end is kept, of a flood the last lines."""

    def __init__(self, count: int) -> None:
        self._lines: deque[bytes] = deque(maxlen=count)
        self._count = count
        self._partial = b""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; their cost doesn't grow with the number of lines in them."""
        *complete, partial = (self._partial + data).rsplit(b"\n", self._count)
        self._partial = partial[-LINE_BYTES_MAX:]
        if len(complete) == self._count:  # the first piece may hold any number of older lines
            complete[0] = complete[0].rpartition(b"\n")[2]
        self._lines.extend(line[-LINE_BYTES_MAX:] for line in complete)

    def lines(self) -> tuple[str, ...]:
        """Return them oldest first, the unfinished one included."""
        lines = [*self._lines, self._partial] if self._partial else list(self._lines)
        return tuple(readable(line) for line in lines[-self._count :])
