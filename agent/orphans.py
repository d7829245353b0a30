"""Processes that lost their parent: the agent adopts them, and reaps them when they end.

Without this they would go to the machine's init, out of sight of the stop sequence; and where the
agent is a container's first process, the dead ones would fill the process table.
"""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from common.clock import Clock

REAP_INTERVAL_SECONDS = 1.0  # one system call; a zombie costs nothing but its line in the table
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h

_log = structlog.get_logger()


def become_subreaper() -> None:
    """From now on orphans below this process become its children; see prctl(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


class OrphanReaper:
    """Reaps adopted children that have ended, and never a child that this process started itself.

    The event loop wants the exit status of its own children and takes it within a turn of their
    end. So what is still there a round later is nobody's. An orphan that is neither in the agent's
    session nor the leader of one can't be the loop's at all, and is reaped at once.
    """

    def __init__(self) -> None:
        self._seen: int | None = None
        self._session = os.getsid(0)

    def reap(self) -> int:
        """Do one round without waiting; return how many were reaped."""
        count = 0
        while (pid := _ended_child()) is not None:
            if pid != self._seen and os.getsid(pid) in {self._session, pid}:
                self._seen = pid
                break
            os.waitpid(pid, os.WNOHANG)
            count += 1
        else:
            self._seen = None
        return count

    async def run(self, clock: Clock) -> None:
        while True:
            await clock.sleep(REAP_INTERVAL_SECONDS)
            if count := self.reap():
                _log.debug("orphans_reaped", count=count)


def _ended_child() -> int | None:
    """Return the first child that waits to be reaped, without reaping it."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return None if ended is None else ended.si_pid
