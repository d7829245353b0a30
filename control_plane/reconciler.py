"""Drives everything that is left to do, until nothing is.

The thin shell around `worklist` and `lifecycle`: it reads the Studios for which something may be
left to do, asks `worklist.next_task` for each, carries the tasks out, and tells the lifecycle what
came of them. One task per Studio at a time, many Studios at once; a slow engine holds up only its
own. Nothing needs to be remembered: killed at any point, it finds the same work again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, assert_never

import sqlalchemy as sa
import structlog

from common.tasks import TaskBag
from control_plane.calendar_hold import CalendarHold, look
from control_plane.effects import Effect, Facts
from control_plane.engine_calls import EngineCalls
from control_plane.leadership import Leadership
from control_plane.lifecycle import Event, Outcome, step
from control_plane.worklist import (
    EndJob,
    Expire,
    Forget,
    Inquire,
    Moment,
    Observe,
    Settle,
    Submit,
    Task,
    Watch,
    next_task,
    watch,
)

if TYPE_CHECKING:
    from common.ids import RunNumber, SessionId
    from control_plane.model import HealthResult, Studio
    from control_plane.service import StudioService

TICK_SECONDS = 0.5
"""The longest time between two passes; changes told by the bus cut it short."""
TASKS_MAX = 32
"""At a time; each may start a process or call a cloud."""

_log = structlog.get_logger()


class HealthProbe(Protocol):
    """Asks a session's agent for its health the way users' requests go: through the edge."""

    async def probe(self, studio: Studio) -> HealthResult:
        """Ask once. Never raises for a session that doesn't answer: that is a result."""
        ...


class Reconciler:
    """One loop for all sessions."""

    def __init__(self, service: StudioService, probe: HealthProbe) -> None:
        self._core = service.core
        self._probe = probe
        self._calls = EngineCalls(service.core)
        self._watches: dict[SessionId, Watch] = {}
        self._hold: CalendarHold | None = None
        self._at_work: dict[SessionId, asyncio.Task[None]] = {}
        self._tasks = TaskBag("reconciler")
        self._turns = asyncio.Semaphore(TASKS_MAX)

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tasks.failed(), name="reconciler-tasks")
            try:
                await self._loop()
            finally:
                await self._tasks.close()

    async def run_once(self) -> None:
        """Make one pass, and wait until what it began is done."""
        await self._begin_what_is_left()
        if self._at_work:
            await asyncio.wait(self._at_work.values())

    async def _loop(self) -> None:
        leadership = Leadership(self._core.store)
        try:
            async with self._core.bus.subscribe() as changes:
                while True:
                    try:
                        if await leadership.is_ours():
                            await self._begin_what_is_left()
                    except sa.exc.DBAPIError as error:
                        _log.warning("reconciler_postponed", error=str(error))
                    await changes.wait(self._core.clock, TICK_SECONDS)
        finally:
            await leadership.close()

    async def _begin_what_is_left(self) -> None:
        limits, clock = self._core.settings.limits, self._core.clock
        async with self._core.store.read() as transaction:
            studios = await transaction.restless_studios()
        self._hold = look(
            self._hold, clock.now(), clock.monotonic(), hold_seconds=limits.calendar_hold_seconds
        )
        moment = Moment(
            now=clock.now(),
            monotonic=clock.monotonic(),
            held=clock.monotonic() < self._hold.held_until,
        )
        self._watches = {
            studio.session_id: watch(self._watches.get(studio.session_id), studio, moment.monotonic)
            for studio in studios
        }
        for studio in studios:
            if studio.session_id in self._at_work:
                continue
            task = next_task(studio, self._watches[studio.session_id], moment, limits)
            if task is not None:
                self._begin(studio, task, moment)

    def _begin(self, studio: Studio, task: Task, moment: Moment) -> None:
        session_id = studio.session_id
        self._watches[session_id] = self._watches[session_id].asked(moment.monotonic)
        work = self._tasks.spawn(self._carry_out(studio, task), name=f"{task} of {session_id}")
        self._at_work[session_id] = work
        work.add_done_callback(lambda _: self._at_work.pop(session_id, None))

    async def _carry_out(self, studio: Studio, task: Task) -> None:
        try:
            async with self._turns:
                await self._perform(studio, task)
        except sa.exc.DBAPIError as error:
            _log.warning("task_postponed", session=studio.session_id, error=str(error))

    async def _perform(self, studio: Studio, task: Task) -> None:
        match task:
            case Submit():
                await self._submit(studio)
            case EndJob(run=run, grace_seconds=grace_seconds):
                await self._calls.end(studio, run, grace_seconds=grace_seconds)
                await self._observe(studio, run)
            case Observe(run=run):
                await self._observe(studio, run)
            case Inquire(run=run):
                await self._inquire(studio, run)
            case Settle(run=run):
                await self._calls.tell(studio, Event.JOB_GONE, run)
            case Expire():
                await self._apply(studio, Event.EXPIRE)
            case Forget():
                await self._forget(studio)
            case _:
                assert_never(task)

    async def _submit(self, studio: Studio) -> None:
        """Write the intent, then ask: a crash in between is found and repeated."""
        outcome = await self._apply(studio, Event.SUBMITTING)
        if outcome is not None and outcome.is_submitting(studio.run_number):
            await self._calls.submit(outcome.studio)

    async def _observe(self, studio: Studio, run: RunNumber) -> None:
        await self._calls.observe(studio, run)

    async def _inquire(self, studio: Studio, run: RunNumber) -> None:
        """Ask the agent through the edge, then the engine; only the engine's word ends a run."""
        outcome = await self._apply(studio, Event.SILENT)
        if outcome is not None and Effect.ASK_HEALTH in outcome.asks:
            result = await self._probe.probe(outcome.studio)
            seen = self._watches.get(studio.session_id)
            if result.ok and seen is not None:
                self._watches[studio.session_id] = seen.heard_now(self._core.clock.monotonic())
            event = Event.HEALTH_OK if result.ok else Event.HEALTH_FAILED
            outcome = await self._apply(studio, event)
        if outcome is not None and Effect.ASK_ENGINE in outcome.asks:
            await self._observe(studio, run)

    async def _forget(self, studio: Studio) -> None:
        if await self._calls.forget(studio):
            async with self._core.store.write() as transaction:
                await transaction.erase(studio.session_id)

    async def _apply(self, studio: Studio, event: Event) -> Outcome | None:
        """Let the lifecycle take in what holds for the run that was looked at, and no other."""
        facts = Facts(now=self._core.clock.now(), run=studio.run_number)

        def decide(now: Studio) -> Outcome:
            if now.run_number != studio.run_number:
                return Outcome(now)
            return step(now, event, facts)

        return await self._core.changes.apply(studio.session_id, decide)
