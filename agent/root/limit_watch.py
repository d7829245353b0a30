"""Watches what a session's limits do to it: memory kills, processes that could not be started.

The cgroups only count; the names of what was killed are in the kernel's log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from agent.root.memory_kills import KernelLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.root.cgroup import SessionCgroup
    from common.clock import Clock

WATCH_SECONDS = 1.0  # small files are read; a person learns of it within this time
_KILLS_KEPT_MAX = 20  # names for the status; a loop that is killed for ever fills no memory

_log = structlog.get_logger()


class LimitWatch:
    """One session's. `on_change` is called when there is something new."""

    def __init__(self, cgroup: SessionCgroup, clock: Clock, on_change: Callable[[], None]) -> None:
        self._cgroup = cgroup
        self._clock = clock
        self._on_change = on_change
        self.memory_kills: tuple[str, ...] = ()
        """Names of processes that the kernel ended, the latest last."""
        self.memory_kill_count = 0
        self.process_limit_hits = 0

    async def run(self) -> None:
        """Watch until cancelled."""
        log = KernelLog()
        try:
            while True:
                await self._clock.sleep(WATCH_SECONDS)
                self._look(log)
        finally:
            log.close()

    def _look(self, log: KernelLog) -> None:
        kills, hits = self._cgroup.memory_kills(), self._cgroup.process_limit_hits()
        if kills == self.memory_kill_count and hits == self.process_limit_hits:
            return
        if kills > self.memory_kill_count:
            names = [kill.name for kill in log.kills(self._cgroup.memory_paths())]
            self.memory_kills = (*self.memory_kills, *names)[-_KILLS_KEPT_MAX:]
            _log.warning("memory_kill", names=names, count=kills)
        first_hit = hits > 0 and self.process_limit_hits == 0
        if first_hit:
            _log.warning("process_limit_reached")
        news = first_hit or kills > self.memory_kill_count
        self.memory_kill_count, self.process_limit_hits = kills, hits
        if news:  # a fork bomb hits the limit all the time; once is news
            self._on_change()
