"""Descriptors of a program's streams, read and written without waiting, at the pace of others.

Per-chunk code: no task and no copy for a piece of data, only the loop's own callbacks.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import termios
from collections import deque
from typing import TYPE_CHECKING

from common.exec.messages import DATA_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

_TERMINAL_BYTES_MAX = 256 * 1024
"""A terminal has room for some pages; this is the end also if others go on writing to it."""


class Source:
    """What a program prints. `taken` gets it piece by piece while it flows; it begins held."""

    def __init__(
        self,
        fd: int,
        taken: Callable[[bytes], None],
        *,
        ended: Callable[[], None],
        is_terminal: bool,
    ) -> None:
        """Read `fd`, whose owner closes it after `close`; `ended` is called once."""
        os.set_blocking(fd, False)
        self.is_over = False
        self._ended = ended
        self._fd = fd
        self._taken = taken
        self._is_terminal = is_terminal
        self._left: int | None = None
        """How many bytes are still of interest; None while the program lives."""
        self._flowing = False
        self._loop = asyncio.get_running_loop()

    def flow(self) -> None:
        """Read on. Idempotent."""
        if self._flowing or self.is_over:
            return
        self._flowing = True
        if self._left is None:
            self._loop.add_reader(self._fd, self._read)
        else:
            self._loop.call_soon(self._read_rest)

    def hold(self) -> None:
        """Don't read, so that the program waits. Idempotent."""
        if self._flowing:
            self._flowing = False
            self._loop.remove_reader(self._fd)

    def finish(self) -> None:
        """The program has ended: take what it had printed by now, and end.

        A pipe tells how much that is; a terminal gives all that was written before the read. Others
        may have them open and go on: nobody listens to them any more.
        """
        if self.is_over or self._left is not None:
            return
        self._left = _TERMINAL_BYTES_MAX if self._is_terminal else _readable_bytes(self._fd)
        if self._flowing:
            self._loop.remove_reader(self._fd)
            self._loop.call_soon(self._read_rest)

    def _read(self) -> None:
        size = DATA_BYTES_MAX if self._left is None else min(DATA_BYTES_MAX, self._left)
        try:
            data = os.read(self._fd, size)
        except BlockingIOError:
            if self._left is not None:
                self.close()
            return
        except OSError:  # EIO: nobody has the terminal's other end any more
            data = b""
        if not data:
            self.close()
            return
        if self._left is not None:
            self._left -= len(data)
        self._taken(data)

    def _read_rest(self) -> None:
        while self._flowing and not self.is_over:
            self._read()

    def close(self) -> None:
        """Read no more. Idempotent."""
        if not self.is_over:
            self.hold()
            self.is_over = True
            self._ended()


class Sink:
    """A program's standard input. `taken` hears how many bytes the program's pipe has room for."""

    def __init__(self, fd: int, taken: Callable[[int], None], *, is_terminal: bool) -> None:
        """Write to `fd`; a pipe is this object's own, a terminal is somebody else's as well."""
        os.set_blocking(fd, False)
        self._fd = fd
        self._taken = taken
        self._is_terminal = is_terminal
        self._pending: deque[bytes] = deque()
        self._waiting = False
        self._ending = False
        self._closed = False
        self._loop = asyncio.get_running_loop()

    def write(self, data: bytes) -> None:
        """Pass `data` on; whoever calls bounds how much is pending."""
        if not self._closed and not self._ending:
            self._pending.append(data)
            self._write()

    def end(self) -> None:
        """Let the program see the end, after what is pending. Idempotent."""
        if self._closed or self._ending:
            return
        self._ending = True
        if self._is_terminal:
            self._pending.append(_end_of_file(self._fd))
        self._write()

    def _write(self) -> None:
        if self._waiting:
            return
        while self._pending:
            data = self._pending[0]
            try:
                count = os.write(self._fd, data)
            except BlockingIOError:
                self._waiting = True
                self._loop.add_writer(self._fd, self._go_on)
                return
            except OSError:  # nobody reads it any more
                self.close()
                return
            if count == len(data):
                self._pending.popleft()
            else:
                self._pending[0] = data[count:]
            self._taken(count)
        if self._ending and not self._is_terminal:
            self.close()

    def _go_on(self) -> None:
        self._stop_waiting()
        self._write()

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._loop.remove_writer(self._fd)

    def close(self) -> None:
        """Drop what is pending and end. Idempotent."""
        if not self._closed:
            self._closed = True
            self._stop_waiting()
            self._pending.clear()
            if not self._is_terminal:
                os.close(self._fd)


def _readable_bytes(fd: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), "little")


def _end_of_file(terminal_fd: int) -> bytes:
    """Return what is typed to end the input of a program on this terminal; usually Ctrl-D."""
    characters = termios.tcgetattr(terminal_fd)[6]
    character: bytes = characters[termios.VEOF]
    return character
