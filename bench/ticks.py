"""A timer that counts in nanoseconds.

Event loops wait in whole milliseconds: at 5000 requests a second they would send five at once and
measure the queue that makes. The kernel's timerfd ticks at the exact interval, and its descriptor
is readable when ticks are due.
"""

from __future__ import annotations

import ctypes
import os

_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_COUNT_BYTES = 8
_SECOND_NS = 1_000_000_000


class Ticks:
    """Due at `start_ns` (of `time.monotonic_ns`), and every `interval_ns` from then on."""

    def __init__(self, start_ns: int, interval_ns: int) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        timing = (ctypes.c_long * 4)(  # struct itimerspec: interval, then the first
            *divmod(interval_ns, _SECOND_NS), *divmod(start_ns, _SECOND_NS)
        )
        if libc.timerfd_settime(self._fd, _ABSOLUTE, ctypes.byref(timing), None) != 0:
            error = ctypes.get_errno()
            self.close()
            raise OSError(error, "timerfd_settime")

    def fileno(self) -> int:
        return self._fd

    def take(self) -> int:
        """Return how many ticks have become due since the last call."""
        try:
            return int.from_bytes(os.read(self._fd, _COUNT_BYTES), "little")
        except BlockingIOError:
            return 0

    def close(self) -> None:
        os.close(self._fd)
