"""How a process that saves files gives way to the people who work with them.

Only while they do: somebody waits for what is restored, and nobody works any more when files are
saved a last time. There is no way back without a capability, so it gives way as late as possible.
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

_libc = ctypes.CDLL(None)
_ADJUSTMENT = Path("/proc/self/oom_score_adj")
_GROUP = Path("/proc/self/autogroup")
"""Of every session in the sense of setsid(2), where the kernel makes groups of them: man 7 sched.

Processors are divided among such groups first, whatever niceness the threads in them have. This
process has one of its own.
"""
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1  # linux/ioprio.h
_BEST_EFFORT_LOWEST = 2 << 13 | 7
"""Not the class `idle`: on a disk that is always busy, nothing would ever be saved."""


def give_way() -> None:
    """Take the last place for processors and disk, with all threads. Idempotent."""
    number = _IOPRIO_SET.get(os.uname().machine)
    for name in os.listdir("/proc/self/task"):
        thread = int(name)
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            if os.getpriority(os.PRIO_PROCESS, thread) < NICENESS:
                os.setpriority(os.PRIO_PROCESS, thread, NICENESS)
        if number is not None:
            _libc.syscall(number, _IOPRIO_WHO_PROCESS, thread, _BEST_EFFORT_LOWEST)
    with contextlib.suppress(OSError):  # a kernel without such groups
        if not _GROUP.read_text().endswith(f" nice {NICENESS}\n"):
            _GROUP.write_text(str(NICENESS))


def be_ended_before_the_agent() -> None:
    """Take a place in the line for being ended when the machine is out of memory."""
    with contextlib.suppress(OSError):
        inherited = int(_ADJUSTMENT.read_text())
        _ADJUSTMENT.write_text(str(adjusted(inherited)))


def adjusted(inherited: int) -> int:
    """Return the place in line for being ended, of a process whose agent has that one.

    Nobody may better their own place without a capability, and an agent that couldn't has a
    session's: then this process has it, too.
    """
    return max(inherited, MEMORY_KILL_ADJUSTMENT)
