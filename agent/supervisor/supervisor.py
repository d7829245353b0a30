"""**Start here.** The tool's lives, one after the other, until it is stopped or given up.

```
 run ──▶ start ──▶ starting ──answers──▶ ready ──ends──▶ decide ──▶ backing off ──▶ start …
                      │                    │                └─ give up ──▶ failed
                      └── stop ────────────┴──▶ stopping ──▶ stopped
```

One task, `run`, does all of it; `stop` and `kill` only ask, and wait for it. So nothing is ever
started after a stop, and nobody signals a process that another one is reaping.
"""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.limits import wait_event
from agent.parts import CannotStartError
from agent.supervisor.environment import arguments, tool_environment
from agent.supervisor.exits import describe_exit
from agent.supervisor.plain_http import listening
from agent.supervisor.readiness import becomes_ready
from agent.supervisor.restart import Ended, GiveUp, History, RestartIn, decide
from common.messages import ToolPhase, ToolStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from agent.parts import Ground, Program
    from agent.supervisor.output import ToolOutput
    from common.clock import Clock
    from common.http1.lane import Address
    from common.messages import ResourceUse
    from common.session_spec import ToolSpec

LEFTOVER_GRACE_SECONDS = 2.0
"""What outlives the tool gets a SIGTERM of its own and this long: a shell's job, a kernel."""

KILL_SECONDS_MAX = 5.0  # SIGKILL takes no time, except in I/O that hangs

_log = structlog.get_logger()


class ToolGivenUpError(Exception):
    """The tool will not be started again; the text is a sentence for the user."""


class Supervisor:
    """Keeps one tool running. `on_change` is called whenever `status` may be another."""

    def __init__(
        self,
        tool: ToolSpec,
        variables: Mapping[str, str],
        *,
        ground: Ground,
        output: ToolOutput,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """Raise UnknownVariableError if the command can't be built from the environment."""
        self._tool = tool
        self._environment = tool_environment(tool, variables)
        self._command = arguments(tool, self._environment)
        self._ground = ground
        self._address: Address | None = None
        self._output = output
        self._clock = clock
        self._on_change = on_change
        self._phase = ToolPhase.WAITING
        self._pid: int | None = None
        self._restarts = 0
        self._last_exit: str | None = None
        self._message = "waiting to be started"
        self._grace_seconds = LEFTOVER_GRACE_SECONDS
        self._grace_end = 0.0
        """On the clock; everything that the session runs shares one grace."""
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._over = asyncio.Event()
        self._begun = False

    # ── Questions ────────────────────────────────────────────────────────────

    def is_ready(self) -> bool:
        return self._phase is ToolPhase.READY

    def progress(self) -> str:
        """Say in a few words what the tool is doing, for people who wait for it."""
        return f"{self._tool.name} {self._message}"

    def status(self, resources: ResourceUse | None = None) -> ToolStatus:
        troubled = self._last_exit is not None or self._phase is ToolPhase.FAILED
        return ToolStatus(
            phase=self._phase,
            pid=self._pid,
            restarts=self._restarts,
            last_exit=self._last_exit,
            last_lines=self._output.last_lines() if troubled else (),
            resources=resources,
        )

    # ── Acts ─────────────────────────────────────────────────────────────────

    async def stop(self, grace_seconds: float) -> None:
        """End the tool and all its processes: SIGTERM, `grace_seconds`, SIGKILL. Idempotent."""
        self._grace_seconds = grace_seconds
        if not self._stop.is_set():
            self._grace_end = self._clock.monotonic() + grace_seconds
        self._stop.set()
        if self._begun:
            await self._over.wait()

    async def kill(self) -> None:
        """Like `stop` without any grace, also while a `stop` is in progress."""
        self._kill.set()
        await self.stop(0.0)

    async def run(self) -> None:
        """Keep the tool running. Return once stopped; raise ToolGivenUpError once given up.

        Either way none of its processes is left then.
        """
        self._address = self._ground.address(self._tool.port)
        self._begun = True
        try:
            await self._live()
        except ToolGivenUpError as error:
            _log.warning("tool_given_up", reason=str(error))
            await self._end_all()
            self._change(ToolPhase.FAILED, str(error))
            raise
        else:
            await self._end_all()
            self._change(ToolPhase.STOPPED, "has stopped")
        finally:
            self._over.set()

    async def _live(self) -> None:
        history = History()
        while not self._stop.is_set():
            ended = await self._one_life()
            if self._stop.is_set():
                return
            self._last_exit = ended.how
            _log.warning("tool_ended", how=ended.how, ready_seconds=ended.ready_seconds)
            history, decision = decide(history, ended)
            match decision:
                case GiveUp(reason):
                    raise ToolGivenUpError(f"{self._tool.name} {reason}")
                case RestartIn(seconds):
                    message = f"ended ({ended.how}), starts again in {seconds:.1f} s"
                    self._change(ToolPhase.BACKING_OFF, message)
                    await wait_event(self._stop, self._clock, seconds)
                    self._restarts += 1
                case _:
                    assert_never(decision)

    async def _one_life(self) -> Ended:
        """Start the tool, note when it answers, return when it has ended."""
        self._change(ToolPhase.STARTING, "is starting")
        try:
            await self._free_port()
            program = await self._ground.start(
                self._command, self._environment, self._tool.working_directory
            )
        except CannotStartError as error:
            return Ended(at_seconds=self._clock.monotonic(), how=str(error))
        self._pid = program.pid
        _log.info("tool_started", pid=program.pid, command=self._command[0])
        ended = await self._watch(program)
        self._pid = None
        self._output.drain()
        return ended

    async def _watch(self, program: Program) -> Ended:
        ready_at: float | None = None
        async with asyncio.TaskGroup() as life:
            exited = life.create_task(_exit_of(program), name="tool-exit")
            stop = life.create_task(self._stop.wait(), name="tool-stop")
            ready = life.create_task(
                becomes_ready(self._tool, self._there, self._clock), name="tool-ready"
            )
            await asyncio.wait({exited, stop, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and not stop.done() and ready.result():
                ready_at = self._clock.monotonic()
                _log.info("tool_ready", pid=program.pid)
                self._change(ToolPhase.READY, "is ready")
                await asyncio.wait({exited, stop}, return_when=asyncio.FIRST_COMPLETED)
            never_ready = not exited.done() and not stop.done()
            if not exited.done():
                await self._end(program, exited)
            stop.cancel()
            ready.cancel()
            exited.cancel()
        if never_ready:
            limit = self._tool.readiness_timeout_seconds
            raise ToolGivenUpError(f"{self._tool.name} did not answer within {limit:.0f} s")
        now = self._clock.monotonic()
        ready_seconds = None if ready_at is None else now - ready_at
        how = "does not end" if exited.cancelled() else exited.result()
        return Ended(at_seconds=now, how=how, ready_seconds=ready_seconds)

    async def _end(self, program: Program, exited: asyncio.Task[str]) -> None:
        """SIGTERM to the process group, the grace, SIGKILL.

        `exited` is done on return, unless nothing in the world can end it.
        """
        self._change(ToolPhase.STOPPING, "is stopping")
        self._ground.send_signal(program, signal.SIGTERM)
        async with asyncio.TaskGroup() as race:
            kill = race.create_task(self._kill.wait(), name="tool-kill")
            grace = race.create_task(self._clock.sleep(self._grace_seconds), name="tool-grace")
            await asyncio.wait({exited, kill, grace}, return_when=asyncio.FIRST_COMPLETED)
            kill.cancel()
            grace.cancel()
        if not exited.done():
            _log.warning("tool_killed", pid=program.pid, grace_seconds=self._grace_seconds)
            self._ground.send_signal(program, signal.SIGKILL)
            await asyncio.wait({exited}, timeout=KILL_SECONDS_MAX)
        if not exited.done():  # it hangs in the kernel; so may everything else
            await self._ground.end_all(0.0)

    async def _end_all(self) -> None:
        """End what the tool left."""
        if not await self._all_ended():
            _log.warning("processes_survive_sigkill")
        self._output.drain()

    async def _all_ended(self) -> bool:
        """End it with what the tool didn't take of the grace, but not at once, unless killed."""
        if not self._kill.is_set():
            grace = max(LEFTOVER_GRACE_SECONDS, self._grace_end - self._clock.monotonic())
            async with asyncio.TaskGroup() as race:
                kill = race.create_task(self._kill.wait(), name="tool-kill")
                end = race.create_task(self._ground.end_all(grace), name="tool-end-all")
                await asyncio.wait({kill, end}, return_when=asyncio.FIRST_COMPLETED)
                kill.cancel()
                end.cancel()
            if not end.cancelled():
                return end.result()
        return await self._ground.end_all(0.0)

    async def _free_port(self) -> None:
        """See that the tool can listen on its port; what a former life left there is ended.

        Otherwise its jobs are left alone: a crash of the IDE must not cost a training run.
        """
        if not await listening(self._there):
            return
        await self._ground.end_all(LEFTOVER_GRACE_SECONDS)
        if await listening(self._there):
            raise CannotStartError(
                f"port {self._tool.port} is in use by a program outside this session"
            )

    @property
    def _there(self) -> Address:
        assert self._address is not None, "asked before it was started"
        return self._address

    def _change(self, phase: ToolPhase, message: str) -> None:
        self._phase = phase
        self._message = message
        self._on_change()


async def _exit_of(program: Program) -> str:
    try:
        return describe_exit(await program.wait())
    except CannotStartError as error:
        return str(error)
