"""The tool's process and everything that came from it, and how all of it ends.

A notebook's kernel, a terminal's job, a daemon that forked twice: they leave the tool's process
group, its session and even its process tree. Two facts find them all the same:

- The agent is a subreaper (`agent.orphans`), so what loses its parent becomes the agent's child.
- A process can leave a session but never enter an existing one. The tool starts in a session of its
  own, so nothing below it is ever again in the agent's session, and the agent's own helpers, which
  stay there, are never taken for the tool's.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import structlog

from agent.supervisor.proctable import ProcessFacts, Table, descendants, read_process, read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from common.clock import Clock

POLL_SECONDS = 0.05
KILL_SECONDS_MAX = 10.0  # SIGKILL takes no time, except in uninterruptible I/O

_log = structlog.get_logger()

Key = tuple[int, int]
"""Pid and start time."""


def members(table: Table, *, agent: int, session: int, before: Collection[Key]) -> set[int]:
    """Return the tool's processes: all below the agent's children that left its session.

    `before` were the agent's children before the first tool was.
    """
    roots = {
        facts.pid
        for facts in table.values()
        if facts.parent == agent
        and facts.session != session
        and (facts.pid, facts.start_ticks) not in before
    }
    return roots | descendants(table, roots)


def send_signal(facts: ProcessFacts, number: signal.Signals) -> None:
    """Signal exactly this process: never another one that got its pid meanwhile."""
    try:
        fd = os.pidfd_open(facts.pid)
    except ProcessLookupError:
        return
    try:
        current = read_process(facts.pid)
        if current is not None and current.start_ticks == facts.start_ticks:
            signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return
    finally:
        os.close(fd)


async def end_all(
    living: Callable[[], list[ProcessFacts]], *, grace_seconds: float, clock: Clock
) -> bool:
    """End all of `living()`, including what they start meanwhile; True when none is left.

    SIGTERM first; SIGKILL to those still there after `grace_seconds`.
    """
    asked: set[ProcessFacts] = set()
    deadline = clock.monotonic() + grace_seconds
    while (left := living()) and clock.monotonic() < deadline:
        for facts in set(left) - asked:
            send_signal(facts, signal.SIGTERM)
        asked.update(left)
        await clock.sleep(POLL_SECONDS)
    deadline = clock.monotonic() + KILL_SECONDS_MAX
    while (left := living()) and clock.monotonic() < deadline:
        for facts in left:
            send_signal(facts, signal.SIGKILL)
        await clock.sleep(POLL_SECONDS)
    if left:
        _log.warning("processes_survive_sigkill", pids=[facts.pid for facts in left])
    return not left


class Family:
    """The processes of this agent's tool."""

    def __init__(self) -> None:
        """Construct it before the first tool starts."""
        self._agent = os.getpid()
        self._session = os.getsid(0)
        table = read_table()
        self._before = frozenset(
            (facts.pid, facts.start_ticks)
            for facts in table.values()
            if facts.parent == self._agent
        )

    def living(self) -> list[ProcessFacts]:
        """Return all that live now; reads the whole process table."""
        table = read_table()
        found = members(table, agent=self._agent, session=self._session, before=self._before)
        return [table[pid] for pid in found if not table[pid].zombie]

    async def end(self, *, grace_seconds: float, clock: Clock) -> bool:
        return await end_all(self.living, grace_seconds=grace_seconds, clock=clock)
