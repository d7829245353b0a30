"""Standard input, output and error of this program, none of which may stop the loop.

They stay blocking: a descriptor that is made non-blocking is so for the shell and for all programs
that share it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import threading
from typing import TYPE_CHECKING

from common.exec.messages import DATA_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable

PENDING_BYTES_MAX = 1024 * 1024
"""Of output that isn't written yet; then nothing more is read from the session."""


class Input:
    """Reads as many bytes as there is credit for, when there are any.

    A terminal, pipe or socket is read when the loop says that it is readable; what can't be waited
    for (a file, /dev/null) always is.
    """

    def __init__(
        self, fd: int, *, given: Callable[[bytes], None], ended: Callable[[], None]
    ) -> None:
        """`ended` is called once, at its end or if it can't be read."""
        self._fd = fd
        self._given = given
        self._ended = ended
        self._credit = 0
        self._over = False
        self._waiting = False
        self._loop = asyncio.get_running_loop()

    def grant(self, size_bytes: int) -> None:
        """Allow so many bytes more."""
        self._credit += size_bytes
        if not self._over and not self._waiting:
            self._wait()

    def _wait(self) -> None:
        self._waiting = True
        try:
            self._loop.add_reader(self._fd, self._read)
        except PermissionError:  # epoll's word for what is always readable
            self._loop.call_soon(self._read_file)
        except OSError:
            self._end()

    def _read_file(self) -> None:
        if not self._over:
            self._waiting = False
            self._read()
            if self._credit and not self._over:
                self._waiting = True
                self._loop.call_soon(self._read_file)

    def _read(self) -> None:
        try:
            data = os.read(self._fd, min(self._credit, DATA_BYTES_MAX))
        except OSError:  # the terminal is gone, or this is no file that can be read
            data = b""
        if not data:
            self._end()
            return
        self._credit -= len(data)
        self._given(data)
        if not self._credit:
            self._stop_waiting()

    def _end(self) -> None:
        self.close()
        self._ended()

    def _stop_waiting(self) -> None:
        if self._waiting:
            self._waiting = False
            self._loop.remove_reader(self._fd)

    def close(self) -> None:
        """Read no more."""
        self._over = True
        self._stop_waiting()


class Output:
    """Writes to standard output and error in a thread, in the order of `put`.

    The thread is a daemon: a reader that has stopped reading keeps nobody from leaving.
    """

    def __init__(self, *, changed: Callable[[], None]) -> None:
        """`changed` is called in the loop whenever something was written or can't be."""
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self.pending_bytes = 0
        self.problem: OSError | None = None
        """Why nothing can be written any more."""
        threading.Thread(target=self._write, name="exec-output", daemon=True).start()

    @property
    def is_full(self) -> bool:
        return self.pending_bytes >= PENDING_BYTES_MAX

    def put(self, fd: int, data: bytes) -> None:
        """Write `data` to a descriptor, after all that came before."""
        if data and self.problem is None:
            self.pending_bytes += len(data)
            self._queue.put((fd, data))

    def _write(self) -> None:
        while True:
            fd, data = self._queue.get()
            problem = _write_all(fd, data)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._written, len(data), problem)
            if problem is not None:
                return

    def _written(self, size_bytes: int, problem: OSError | None) -> None:
        self.pending_bytes -= size_bytes
        if problem is not None:
            self.problem = problem
            self.pending_bytes = 0
        self._changed()


def _write_all(fd: int, data: bytes) -> OSError | None:
    """Write everything, waiting as long as it takes; return what keeps it from being written."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:  # somebody who shares it has made it so
            os.set_blocking(fd, True)
        except OSError as error:
            return error
    return None
