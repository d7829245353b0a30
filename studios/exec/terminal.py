"""The person's terminal: raw while a command has one of its own, and always given back."""

from __future__ import annotations

import contextlib
import os
import re
import termios
import tty
from typing import TYPE_CHECKING

from common.exec.messages import Resize, Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

_TYPE = re.compile(r"[A-Za-z0-9._+-]{1,64}")
_TYPE_USUAL = "xterm-256color"
_SIZE_USUAL = (24, 80)


class PersonsTerminal:
    """The terminal at a descriptor."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._usual = termios.tcgetattr(fd)

    def order(self, terminal_type: str) -> Terminal:
        """Return what to ask for; `terminal_type` is TERM."""
        known = _TYPE.fullmatch(terminal_type) is not None
        size = self.size()
        return Terminal(
            rows=size.rows, columns=size.columns, type=terminal_type if known else _TYPE_USUAL
        )

    def size(self) -> Resize:
        """Return its size now; some terminals say that they have none."""
        rows, columns = termios.tcgetwinsize(self._fd)
        return Resize(rows or _SIZE_USUAL[0], columns or _SIZE_USUAL[1])

    @contextlib.contextmanager
    def raw(self) -> Iterator[None]:
        """Have every key go to the command as it is typed, for the length of the block."""
        try:
            self.make_raw()
            yield
        finally:
            with contextlib.suppress(termios.error):  # it is gone: nothing is left to give back
                termios.tcsetattr(self._fd, termios.TCSANOW, self._usual)

    def make_raw(self) -> None:
        """Make it raw, or raw again after a shell has changed it."""
        tty.setraw(self._fd, termios.TCSANOW)


def is_terminal(fd: int) -> bool:
    """Whether a descriptor is one; False if it isn't open."""
    return os.isatty(fd)
