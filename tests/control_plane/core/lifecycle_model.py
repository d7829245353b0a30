"""A small world to drive the lifecycle in: one Studio, its agents, an engine, a bad network.

Everything is plain data and one `random.Random`, so that a seed is a story which can be told again.
The control plane here is `lifecycle`, `worklist` and `calendar_hold` themselves; only the shell
around them is modelled, as generators that may be abandoned (kill -9) or interleaved with anything
at each `yield`. The engine, unlike real ones, starts whatever it is asked to: that there is never
more than one agent must be the control plane's own doing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from common.messages import RunPhase, RunState, StatusReport
from common.session_spec import SessionSettings
from control_plane import calendar_hold, lifecycle, worklist
from control_plane.desired import desired_state
from control_plane.effects import Effect, Facts
from control_plane.lifecycle import Event
from control_plane.model import Status, Studio
from control_plane.settings import Limits
from tests.control_plane.core.lifecycle_invariants import (
    OVER,
    UP,
    Chronicle,
    ViolationError,
    check_change,
    check_standing,
    has_expired,
)
from tests.control_plane.core.simulated_agent import EPOCH, Agent, studio

if TYPE_CHECKING:
    import random
    from collections.abc import Generator

    from common.ids import RunNumber
    from common.messages import DesiredState

LIMITS = Limits()


class EngineTroubleError(Exception):
    pass


class EngineRefusalError(Exception):
    pass


@dataclass(slots=True)
class World:
    """The whole state, and the invariants that hold after every step."""

    rng: random.Random
    studio: Studio | None = field(default_factory=studio)
    agents: list[Agent] = field(default_factory=list)
    ended_runs: set[int] = field(default_factory=set)
    """Runs of which the engine has said that they are gone: it never starts them again."""
    network: list[tuple[Agent, StatusReport | DesiredState]] = field(default_factory=list)
    monotonic: float = 1000.0
    calendar: datetime = EPOCH
    # the control plane's memory
    watch: worklist.Watch | None = None
    hold: calendar_hold.CalendarHold | None = None
    work: Generator[None, None, None] | None = None
    # how well the world behaves
    engine_fails: bool = False
    engine_refuses: bool = False
    engine_blind: bool = False
    probe_fails: bool = False
    # what the story so far demands
    wants_run: bool = False
    ended_by_itself: bool = False
    chronicle: Chronicle = field(default_factory=Chronicle)

    # ── Time ─────────────────────────────────────────────────────────────────

    def advance(self, seconds: float) -> None:
        self.monotonic += seconds
        self.calendar += timedelta(seconds=seconds)

    # ── The database: every change of the Studio comes through here ──────────

    def apply(self, event: Event, facts: Facts) -> lifecycle.Outcome | None:
        if self.studio is None:
            return None
        outcome = lifecycle.step(self.studio, event, facts)
        self._write(outcome.studio, event)
        return outcome

    def _write(self, after: Studio, event: Event | None) -> None:
        before = self.studio
        assert before is not None
        self.studio = after
        check_change(before, after, self.chronicle, now=self.calendar, event=event)
        if has_expired(before, after):
            self._stop_is_wanted()
        check_standing(after, living=len(self.living()))

    def facts(self, run: RunNumber | None = None, message: str = "") -> Facts:
        return Facts(now=self.calendar, run=run, message=message)

    # ── People ───────────────────────────────────────────────────────────────

    def start(self) -> None:
        if self.studio is None or self.studio.deleted:
            return
        before = self.studio
        outcome = self.apply(Event.START, self.facts())
        assert outcome is not None
        if outcome.studio.run_number == before.run_number:
            return
        if before.status not in OVER:
            raise ViolationError(f"started anew while {before.status}")
        self.wants_run, self.ended_by_itself = True, False

    def stop(self) -> None:
        if self.studio is None or self.studio.deleted:
            return
        event = lifecycle.stop_event(
            self.studio, self.calendar, force_after_seconds=LIMITS.force_after_seconds
        )
        outcome = self.apply(event, self.facts())
        assert outcome is not None
        if outcome.studio.status in UP:
            raise ViolationError("a stop left the Studio up")
        self._stop_is_wanted()

    def _stop_is_wanted(self) -> None:
        assert self.studio is not None
        self.wants_run = False
        self.chronicle.stopped_runs.add(self.studio.run_number)

    def extend(self) -> None:
        if self.studio is not None and not self.studio.deleted:
            self.apply(Event.EXTEND, self.facts())

    def delete(self) -> None:
        if self.studio is None or self.studio.deleted:
            return
        status = self.studio.status
        outcome = self.apply(Event.DELETE, self.facts())
        assert outcome is not None
        if not outcome.studio.deleted:
            return
        if status not in OVER:
            raise ViolationError(f"deleted while {status}")
        self.wants_run = False

    # ── The network ──────────────────────────────────────────────────────────

    def send_report(self, agent: Agent) -> None:
        if agent.alive:
            self.network.append((agent, agent.report()))

    def deliver(self, index: int, *, keep: bool = False) -> None:
        agent, message = self.network[index] if keep else self.network.pop(index)
        if not isinstance(message, StatusReport):
            if agent.alive:
                agent.obey(message)
        elif self.studio is not None and not self.studio.deleted:
            self._hear(agent, message)

    def _hear(self, agent: Agent, report: StatusReport) -> None:
        assert self.studio is not None
        outcome = lifecycle.hear(self.studio, report, self.calendar)
        if (
            report.phase in {RunPhase.STOPPING, RunPhase.STOPPED, RunPhase.SUPERSEDED}
            and report.run_number == self.studio.run_number
        ):
            self.ended_by_itself = True
        self._write(outcome.studio, None)
        reply = desired_state(
            self.studio, agent.run, token=None, token_keys="", settings=SessionSettings()
        )
        if reply.run_state is RunState.RUN and agent.run != self.studio.run_number:
            raise ViolationError("an agent of an old run is told to run")
        if reply.run_state is RunState.RUN and agent.run in self.chronicle.stopped_runs:
            raise ViolationError("a run that was stopped is told to run")
        self.network.append((agent, reply))

    # ── The engine ───────────────────────────────────────────────────────────

    def _agent(self, run: RunNumber) -> Agent | None:
        return next((agent for agent in self.agents if agent.run == run), None)

    def living(self) -> list[Agent]:
        return [agent for agent in self.agents if agent.alive]

    def _engine_submit(self, run: RunNumber) -> None:
        if self.engine_refuses:
            raise EngineRefusalError("no")
        if self.engine_fails and self.rng.random() < 0.5:
            raise EngineTroubleError("not now")
        if self._agent(run) is None and run not in self.ended_runs:
            self.agents.append(Agent(run, deaf=self.rng.random() < 0.1))
        if self.engine_fails:
            raise EngineTroubleError("done, but the answer is lost")

    def _engine_stop(self, run: RunNumber, grace_seconds: float) -> None:
        agent = self._agent(run)
        if self.engine_fails or agent is None or not agent.alive:
            return
        if agent.stop_asked_at is None:
            agent.stop_asked_at = self.monotonic
            agent.ask_to_stop()
        if self.monotonic - agent.stop_asked_at >= grace_seconds:
            agent.alive = False

    def _engine_observe(self, run: RunNumber) -> Event:
        if self.engine_blind:
            return Event.JOB_UNKNOWN
        agent = self._agent(run)
        if agent is not None and agent.alive:
            return Event.JOB_ALIVE
        self.ended_runs.add(run)
        return Event.JOB_GONE

    # ── The reconciler ───────────────────────────────────────────────────────

    def reconcile(self) -> bool:
        """Go on with the work under way, or look for some; say whether there was any."""
        if self.work is None:
            task = self._next_task()
            if task is None:
                return False
            assert self.studio is not None
            self.work = self._carry_out(self.studio, task)
        try:
            next(self.work)
        except StopIteration:
            self.work = None
        return True

    def kill_control_plane(self) -> None:
        self.work = self.watch = self.hold = None

    def _next_task(self) -> worklist.Task | None:
        if self.studio is None:
            return None
        self.hold = calendar_hold.look(
            self.hold,
            self.calendar,
            self.monotonic,
            hold_seconds=LIMITS.calendar_hold_seconds,
        )
        self.watch = worklist.watch(self.watch, self.studio, self.monotonic)
        moment = worklist.Moment(
            now=self.calendar,
            monotonic=self.monotonic,
            held=self.monotonic < self.hold.held_until,
        )
        task = worklist.next_task(self.studio, self.watch, moment, LIMITS)
        if task is not None:
            self.watch = self.watch.asked(self.monotonic)
        return task

    def _carry_out(self, seen: Studio, task: worklist.Task) -> Generator[None, None, None]:
        run = seen.run_number
        match task:
            case worklist.Submit():
                yield from self._submit(run)
            case worklist.EndJob(run=job_run, grace_seconds=grace):
                yield
                self._engine_stop(job_run, grace)
                yield from self._observe(job_run)
            case worklist.Observe(run=job_run):
                yield from self._observe(job_run)
            case worklist.Inquire():
                yield from self._inquire(run)
            case worklist.Settle():
                self.tell(Event.JOB_GONE, run)
            case worklist.Expire():
                yield
                self._apply_to(run, Event.EXPIRE)
            case worklist.Forget():
                yield
                if self.living():
                    raise ViolationError("forgotten with a job alive")
                self.studio = None

    def _submit(self, run: RunNumber) -> Generator[None, None, None]:
        outcome = self._apply_to(run, Event.SUBMITTING)
        yield
        if outcome is None or not outcome.is_submitting(run):
            return
        event, message = Event.SUBMITTED, ""
        try:
            self._engine_submit(run)
        except EngineRefusalError as error:
            event, message = Event.SUBMIT_REFUSED, str(error)
        except EngineTroubleError as error:
            last = outcome.studio.submit_attempts + 1 >= LIMITS.submit_attempts_max
            event = Event.SUBMIT_REFUSED if last else Event.SUBMIT_FAILED
            message = str(error)
        if len(self.living()) > 1:
            raise ViolationError("two jobs alive")
        yield
        self.tell(event, run, message)

    def _observe(self, run: RunNumber) -> Generator[None, None, None]:
        yield
        event = self._engine_observe(run)
        yield
        self.tell(event, run, "the process has ended")

    def _inquire(self, run: RunNumber) -> Generator[None, None, None]:
        outcome = self._apply_to(run, Event.SILENT)
        if outcome is not None and Effect.ASK_HEALTH in outcome.asks:
            yield
            agent = self._agent(run)
            is_ok = agent is not None and agent.alive and not self.probe_fails
            if is_ok and self.watch is not None:
                self.watch = self.watch.heard_now(self.monotonic)
            outcome = self._apply_to(run, Event.HEALTH_OK if is_ok else Event.HEALTH_FAILED)
        if outcome is not None and Effect.ASK_ENGINE in outcome.asks:
            yield from self._observe(run)

    def _apply_to(self, run: RunNumber, event: Event) -> lifecycle.Outcome | None:
        if self.studio is None or self.studio.run_number != run:
            return None
        return self.apply(event, self.facts(run))

    def tell(self, event: Event, run: RunNumber, message: str = "") -> None:
        if self.studio is None:
            return
        meant = lifecycle.engine_event(self.studio, event, run)
        if meant is None:
            return
        outcome = self.apply(meant, self.facts(run, message))
        assert outcome is not None
        if meant is Event.SUBMIT_REFUSED and outcome.studio.status is Status.STARTING:
            raise ViolationError("refused by the engine, and still starting")
        if event is Event.JOB_GONE:
            self.chronicle.gone_runs.add(run)
