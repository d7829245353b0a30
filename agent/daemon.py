"""**Start here.** One run of one session, from its start to its last report.

`Daemon.__init__` composes the parts, `Daemon.run` is the run's life:

1. make the ground, supervise the tool on it, serve it through the tunnel, measure, report, obey:
   tasks of one group;
2. until somebody asks for the end: the control plane, a signal, or the supervisor that gave up;
3. do the stop sequence, deliver the last report, return the exit code.

A part that dies of a bug ends the agent: the control plane is told, what was made is taken away.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.activity import Activity
from agent.control_plane import ControlPlane, ControlPlaneAwayError, HttpControlPlane
from agent.desired import (
    ForceStop,
    Obeyed,
    RenewToken,
    SaveNow,
    Stop,
    UpdateKeys,
    YieldToNewerRun,
    decide,
)
from agent.ending import steps
from agent.host_state import HostState, HostStateError, held
from agent.inside.desk import Desk
from agent.metrics import Counters
from agent.orphans import OrphanReaper
from agent.parts import Wiring
from agent.reporting import Reporter
from agent.reserved import Reserved
from agent.session import Session
from agent.status import Facts, assemble, refusal
from agent.stop_sequence import StopSequence
from agent.stopping import Failed, Requested, StopRequest, Superseded, exit_code
from agent.supervisor.environment import UnknownVariableError
from agent.supervisor.output import ToolOutput
from common.tasks import first_of
from common.tokens import InvalidTokenError, TokenVerifier

if TYPE_CHECKING:
    import random

    from agent.desired import Action
    from agent.parts import Connect, LayGround
    from common.clock import Clock
    from common.messages import DesiredState, StatusReport
    from common.session_spec import SessionSpec

LAST_REPORT_SECONDS_MAX = 20.0  # a control plane that restarts is back by then
LAST_REPORT_FORCED_SECONDS_MAX = 3.0

_log = structlog.get_logger()


async def serve(
    spec: SessionSpec,
    stop: StopRequest,
    *,
    lay_ground: LayGround,
    connect: Connect,
    warnings: tuple[str, ...] = (),
    clock: Clock,
    rng: random.Random,
) -> int:
    """Live one run and return the exit code: 0 stopped, 1 failed. Either is reported.

    `warnings` are sentences for the status.
    """
    async with HttpControlPlane(spec.control_plane_url, spec.agent_token) as control_plane:
        try:
            async with held(spec.host_state_dir, clock, unwanted=stop.asked) as host:
                daemon = Daemon(
                    spec,
                    stop,
                    host,
                    control_plane,
                    lay_ground=lay_ground,
                    connect=connect,
                    warnings=warnings,
                    clock=clock,
                    rng=rng,
                )
                return await daemon.run()
        except (HostStateError, UnknownVariableError, InvalidTokenError) as error:
            _log.error("run_refused", reason=str(error))
            report = refusal(spec.session_id, spec.run_number, str(error), clock.now())
            await deliver(control_plane, report)
            return 1


async def deliver(control_plane: ControlPlane, report: StatusReport) -> None:
    """Try once to tell why a run can't begin."""
    try:
        await control_plane.report(report)
    except ControlPlaneAwayError as error:
        _log.warning("refusal_not_reported", error=str(error))


class Daemon:
    """One run. Composed when made, lived by `run`."""

    def __init__(
        self,
        spec: SessionSpec,
        stop: StopRequest,
        host: HostState,
        control_plane: ControlPlane,
        *,
        lay_ground: LayGround,
        connect: Connect,
        warnings: tuple[str, ...],
        clock: Clock,
        rng: random.Random,
    ) -> None:
        self._spec = spec
        self._stop = stop
        self._control_plane = control_plane
        self._clock = clock
        self._over = False
        self._obeyed = Obeyed(
            run_number=spec.run_number,
            settings=spec.settings,
            token=spec.agent_token,
            token_keys=spec.token_keys,
        )
        self._verifier = TokenVerifier(spec.token_keys, clock)
        self._output = ToolOutput(host.tool_log)
        self._desk = Desk(
            spec,
            host.folder,
            observe=lambda: self._observe(0),
            obeyed=lambda: self._obeyed,
            extend=control_plane.extend,
            save=lambda: self._ground.save(),
            commits=lambda: self._ground.commits(),
            clock=clock,
        )
        self._ground = lay_ground(
            spec,
            host,
            given=(self._desk.given,),
            warnings=warnings,
            settings=lambda: self._obeyed.settings,
            clock=clock,
            on_change=self._changed,
        )
        self._activity = Activity(clock)
        self._session = Session(
            spec,
            self._ground,
            output=self._output,
            activity=self._activity,
            stop=stop,
            statistics_interval_seconds=lambda: self._obeyed.settings.statistics_interval_seconds,
            clock=clock,
            on_change=self._changed,
        )
        self._reporter = Reporter(
            control_plane,
            observe=self._observe,
            obey=self._obey,
            version=lambda: self._obeyed.version,
            interval_seconds=lambda: self._obeyed.settings.status_interval_seconds,
            clock=clock,
            rng=rng,
        )
        self._door, self._road = connect(
            Wiring(
                spec=spec,
                ground=self._ground,
                is_ready=self._session.is_ready,
                progress=self._session.progress,
                reserved=Reserved(
                    output=self._output,
                    observe=lambda: self._observe(0),
                    counters=self._counters,
                    clock=clock,
                ),
                activity=self._activity,
                verifier=self._verifier,
                clock=clock,
                rng=rng,
                on_change=self._changed,
            )
        )
        self._sequence = StopSequence(clock=clock, on_change=self._changed)
        for step in steps(self._door, self._session, lambda: self._obeyed.settings):
            self._sequence.register(step)

    async def run(self) -> int:
        """Live the run; return the exit code."""
        try:
            await self._live()
        except* Exception as errors:  # noqa: BLE001 - a bug, in whichever part
            _log.exception("agent_failed", exc_info=errors)
            self._stop.ask(Failed(f"the agent failed: {first_of(errors)!r}"))
            await self._sequence.run(self._stop)
        self._over = True
        limit = LAST_REPORT_SECONDS_MAX
        if self._stop.forced.is_set():
            limit = LAST_REPORT_FORCED_SECONDS_MAX
        await self._reporter.deliver_last(limit)
        await self._road.close()
        await self._door.close()
        await self._desk.close()
        self._output.close()
        assert self._stop.cause is not None
        _log.info("run_over", cause=type(self._stop.cause).__name__)
        return exit_code(self._stop.cause)

    async def _live(self) -> None:
        """Do everything side by side until the stop sequence is through."""
        await self._desk.open()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(part)
                for part in (
                    self._desk.run(),
                    self._session.run(),
                    self._door.run(),
                    self._road.run(),
                    self._reporter.report(),
                    self._reporter.follow(),
                    OrphanReaper().run(self._clock),
                )
            ]
            cause = await self._stop.wait()
            _log.info("run_ends", cause=type(cause).__name__, reason=cause.reason)
            self._changed()
            await self._sequence.run(self._stop)
            for task in tasks:
                task.cancel()

    # ── What the parts ask ───────────────────────────────────────────────────

    def _changed(self) -> None:
        self._reporter.changed()

    def _observe(self, sequence: int) -> StatusReport:
        return assemble(
            Facts(
                session_id=self._spec.session_id,
                run_number=self._spec.run_number,
                now=self._clock.now(),
                tool=self._session.tool_status(),
                progress=self._session.progress(),
                ground=self._ground.status(),
                activity=self._activity.status(),
                tunnel=self._road.status(),
                stop_steps=self._sequence.status(),
                cause=self._stop.cause,
                over=self._over,
            ),
            sequence,
        )

    def _counters(self) -> Counters:
        growths, growth_failures = self._ground.growths()
        commits = self._ground.commits()
        return Counters(
            reports_sent=self._reporter.sent,
            report_failures=self._reporter.failures,
            requests=self._door.requests,
            growths=growths,
            growth_failures=growth_failures,
            last_save_seconds=commits[-1].seconds if commits else None,
        )

    # ── What the control plane wants ─────────────────────────────────────────

    def _obey(self, desired: DesiredState) -> None:
        self._obeyed, actions = decide(self._obeyed, desired)
        for action in actions:
            _log.info("desired", action=type(action).__name__, version=desired.version)
            self._act(action)

    def _act(self, action: Action) -> None:
        match action:
            case SaveNow(requested_at):
                self._ground.save_now(requested_at)
            case Stop(reason):
                self._stop.ask(Requested(reason))
            case ForceStop(reason):
                self._stop.force(Requested(reason))
            case YieldToNewerRun():
                self._stop.ask(Superseded())
            case RenewToken(token):
                self._control_plane.renew(token)
                self._road.renew(token)
            case UpdateKeys(token_keys):
                try:
                    self._verifier.load(token_keys)
                except InvalidTokenError as error:
                    _log.warning("token_keys_unusable", error=str(error))
            case _:
                assert_never(action)
