"""Runs of a saving Studio that are killed somewhere, one after the other, and what they may lose.

Every run finds two files that hold numbers, which are written one after the other. So whatever it
begins with is of an instant if they are alike, or the first is one ahead.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.messages import RunPhase
from tests.support.agent_rig import until
from tests.support.bucket_studio import has_answered, has_begun_or_ended, saver_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.bucket_studio import BucketStudio
    from tests.support.session_agent import AgentRun

    When = Callable[[BucketStudio, AgentRun], bool]

RUN_SECONDS_MAX = 120.0  # until something happens, on a busy machine; bounds a failing test
SAVES = 2
_WRITE = "mkdir -p /workspace && echo {0} >/workspace/a && echo {0} >/workspace/b"
_READ = "cd /workspace 2>/dev/null; for each in a b; do cat $each 2>/dev/null || echo 0; done"


@dataclass
class KilledRuns:
    """Of one Studio. `written` and `promised` are the numbers that are there, and that are safe."""

    studio: BucketStudio
    written: int = 0
    promised: int = 0
    is_elsewhere: bool = False
    """Whether the next run is on a host that has nothing of it."""
    current: AgentRun | None = None

    async def run(self, *, kill_when: When | None = None) -> bool:
        """Begin a run, save twice, and end it; return False if it was killed meanwhile.

        It checks what it begins with. `kill_when` is asked all the time.
        """
        async with self.studio.heard() as run, asyncio.TaskGroup() as group:
            self.current = run
            killing = group.create_task(_kill(self.studio, run, kill_when))
            if await self._begun(run):
                await self._check(run)
                await self._go_on(run)
            await _over(run, lambda: False)
            killing.cancel()
        is_killed = run.control_plane.reports == [] or not _has_ended(run)
        await self.studio.nothing_remains()
        return not is_killed

    async def _begun(self, run: AgentRun) -> bool:
        await _over(run, lambda: any(map(has_begun_or_ended, run.control_plane.reports)))
        if not run.lives():
            return False
        last = run.control_plane.reports[-1]
        assert last.phase is RunPhase.RUNNING, f"{last.message}\n{self.studio.log()}"
        return True

    async def _check(self, run: AgentRun) -> None:
        ahead, number = map(int, (await run.out(_READ)).split())
        assert ahead in {number, number + 1}, "of no single instant"
        if self.is_elsewhere:
            assert self.promised <= number <= self.written, (number, self)
        else:
            assert number == self.written, (number, self)
        self.written, self.is_elsewhere = ahead, False

    async def _go_on(self, run: AgentRun) -> None:
        for _ in range(SAVES):
            await run.out(_WRITE.format(self.written + 1))
            self.written += 1
            number, wished_at = self.written, await self.studio.wish_saved(run)

            def is_answered(wished_at: object = wished_at) -> bool:
                reports = run.control_plane.reports
                return any(has_answered(report, wished_at) for report in reports)  # type: ignore[arg-type]

            await _over(run, is_answered)
            if is_answered():
                self.promised = number
            if not run.lives():
                return
        await run.out(_WRITE.format(self.written + 1))
        self.written += 1
        run.terminate()
        await _over(run, lambda: False)
        if _has_ended(run):
            self.promised = self.written

    def lose_host(self) -> None:
        """Have the next run begin on a host that has nothing of this Studio."""
        self.studio.move_to_another_host()
        self.is_elsewhere = True

    def kill_agent(self) -> None:
        """Kill the current run."""
        if self.current is not None and self.current.lives():
            os.kill(self.current.pid, signal.SIGKILL)

    def kill_saver(self) -> None:
        """Kill what saves its files, if that runs."""
        pid = saver_of(self.current.pid) if self.current and self.current.lives() else None
        if pid is not None:
            os.kill(pid, signal.SIGKILL)


async def _over(run: AgentRun, condition: Callable[[], bool]) -> None:
    await until(
        lambda: condition() or not run.lives(),
        what="the run goes on, or ends",
        seconds=RUN_SECONDS_MAX,
    )


async def _kill(studio: BucketStudio, run: AgentRun, when: When | None) -> None:
    if when is None:
        return
    while not when(studio, run):
        await asyncio.sleep(0.001)
    if run.lives():
        os.kill(run.pid, signal.SIGKILL)


def _has_ended(run: AgentRun) -> bool:
    last = run.control_plane.reports[-1]
    if last.phase is RunPhase.STOPPED:
        return True
    assert last.phase in {RunPhase.STARTING, RunPhase.RUNNING, RunPhase.STOPPING}, last.message
    return False
