"""How a process that saves files gives way to the people who work with them.

Set before there are threads: each thread begins with what its maker has.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

NICENESS = 10
"""A tenth of a processor's time beside one busy thread of a session; all of it where none is."""
MEMORY_KILL_ADJUSTMENT = -500
"""Of -1000 to 1000: chosen after every process of a session, and before the agent itself."""

_ADJUSTMENT = Path("/proc/self/oom_score_adj")
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h
_BEST_EFFORT_LOWEST = 2 << 13 | 7
"""Not the class `idle`: on a disk that is always busy, nothing would ever be saved."""


def give_way() -> None:
    """Take the last place for processors, disk and memory, as far as it is granted."""
    os.nice(NICENESS)
    number = _IOPRIO_SET.get(os.uname().machine)
    if number is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _BEST_EFFORT_LOWEST)
    with contextlib.suppress(OSError):
        inherited = int(_ADJUSTMENT.read_text())
        _ADJUSTMENT.write_text(str(adjusted(inherited)))


def adjusted(inherited: int) -> int:
    """Return the place in line for being ended, of a process whose agent has that one.

    Nobody may better their own place without a capability, and an agent that couldn't has a
    session's: then this process has it, too.
    """
    return max(inherited, MEMORY_KILL_ADJUSTMENT)
