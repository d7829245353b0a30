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
import secrets
import signal
from typing import TYPE_CHECKING, assert_never

import structlog

from agent.limits import wait_event
from agent.supervisor.environment import arguments, tool_environment
from agent.supervisor.plain_http import listening
from agent.supervisor.predecessor import end_leftovers, remove_record, write_record
from agent.supervisor.process import CannotStartError, ToolProcess
from agent.supervisor.readiness import becomes_ready
from agent.supervisor.restart import Ended, GiveUp, History, RestartIn, decide
from common.messages import ToolPhase, ToolStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from agent.supervisor.family import Family
    from agent.supervisor.output import ToolOutput
    from common.clock import Clock
    from common.session_spec import ToolSpec

LEFTOVER_GRACE_SECONDS = 2.0
"""What outlives the tool gets a SIGTERM of its own and this long: a shell's job, a kernel."""

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
        record: Path,
        output: ToolOutput,
        family: Family,
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """Raise UnknownVariableError if the command can't be built from the environment."""
        self._tool = tool
        self._tool_id = secrets.token_hex(8)
        self._environment = tool_environment(tool, variables, tool_id=self._tool_id)
        self._command = arguments(tool, self._environment)
        self._record = record
        self._output = output
        self._family = family
        self._clock = clock
        self._on_change = on_change
        self._phase = ToolPhase.WAITING
        self._pid: int | None = None
        self._restarts = 0
        self._last_exit: str | None = None
        self._message = "waiting to be started"
        self._grace_seconds = LEFTOVER_GRACE_SECONDS
        self._stop = asyncio.Event()
        self._kill = asyncio.Event()
        self._over = asyncio.Event()

    # ── Questions ────────────────────────────────────────────────────────────

    def is_ready(self) -> bool:
        return self._phase is ToolPhase.READY

    def progress(self) -> str:
        """Say in a few words what the tool is doing, for people who wait for it."""
        return f"{self._tool.name} {self._message}"

    def status(self) -> ToolStatus:
        troubled = self._last_exit is not None or self._phase is ToolPhase.FAILED
        return ToolStatus(
            phase=self._phase,
            pid=self._pid,
            restarts=self._restarts,
            last_exit=self._last_exit,
            last_lines=self._output.last_lines() if troubled else (),
        )

    # ── Acts ─────────────────────────────────────────────────────────────────

    async def stop(self, grace_seconds: float) -> None:
        """End the tool and all its processes: SIGTERM, `grace_seconds`, SIGKILL. Idempotent."""
        self._grace_seconds = grace_seconds
        self._stop.set()
        await self._over.wait()

    async def kill(self) -> None:
        """Like `stop` without any grace, also while a `stop` is in progress."""
        self._kill.set()
        await self.stop(0.0)

    async def run(self) -> None:
        """Keep the tool running. Return once stopped; raise ToolGivenUpError once given up.

        Either way none of its processes is left then.
        """
        try:
            await end_leftovers(self._record, self._clock)
            await self._live()
        except ToolGivenUpError as error:
            _log.warning("tool_given_up", reason=str(error))
            await self._end_family()
            self._change(ToolPhase.FAILED, str(error))
            raise
        else:
            await self._end_family()
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
            write_record(self._record, self._tool_id, None)
            process = ToolProcess.start(
                self._command,
                environment=self._environment,
                working_directory=self._tool.working_directory,
                output_fd=self._output.pipe,
            )
        except CannotStartError as error:
            return Ended(at_seconds=self._clock.monotonic(), how=str(error))
        self._pid = process.pid
        write_record(self._record, self._tool_id, process.pid)
        _log.info("tool_started", pid=process.pid, command=self._command[0])
        ended = await self._watch(process)
        self._pid = None
        self._output.drain()
        return ended

    async def _watch(self, process: ToolProcess) -> Ended:
        ready_at: float | None = None
        async with asyncio.TaskGroup() as life:
            exited = life.create_task(process.wait(), name="tool-exit")
            stop = life.create_task(self._stop.wait(), name="tool-stop")
            ready = life.create_task(becomes_ready(self._tool, self._clock), name="tool-ready")
            await asyncio.wait({exited, stop, ready}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done() and not stop.done() and ready.result():
                ready_at = self._clock.monotonic()
                _log.info("tool_ready", pid=process.pid)
                self._change(ToolPhase.READY, "is ready")
                await asyncio.wait({exited, stop}, return_when=asyncio.FIRST_COMPLETED)
            never_ready = not exited.done() and not stop.done()
            if not exited.done():
                await self._end(process, exited)
            stop.cancel()
            ready.cancel()
        if never_ready:
            limit = self._tool.readiness_timeout_seconds
            raise ToolGivenUpError(f"{self._tool.name} did not answer within {limit:.0f} s")
        now = self._clock.monotonic()
        ready_seconds = None if ready_at is None else now - ready_at
        return Ended(at_seconds=now, how=exited.result(), ready_seconds=ready_seconds)

    async def _end(self, process: ToolProcess, exited: asyncio.Task[str]) -> None:
        """SIGTERM to the process group, the grace, SIGKILL; `exited` is done on return."""
        self._change(ToolPhase.STOPPING, "is stopping")
        process.signal_group(signal.SIGTERM)
        async with asyncio.TaskGroup() as race:
            kill = race.create_task(self._kill.wait(), name="tool-kill")
            grace = race.create_task(self._clock.sleep(self._grace_seconds), name="tool-grace")
            await asyncio.wait({exited, kill, grace}, return_when=asyncio.FIRST_COMPLETED)
            kill.cancel()
            grace.cancel()
        if not exited.done():
            _log.warning("tool_killed", pid=process.pid, grace_seconds=self._grace_seconds)
            process.signal_group(signal.SIGKILL)
        await asyncio.wait({exited})

    async def _end_family(self) -> None:
        grace = 0.0 if self._kill.is_set() else LEFTOVER_GRACE_SECONDS
        await self._family.end(grace_seconds=grace, clock=self._clock)
        remove_record(self._record)
        self._output.drain()

    async def _free_port(self) -> None:
        """See that the tool can listen on its port; what a former life left there is ended.

        Otherwise its jobs are left alone: a crash of the IDE must not cost a training run.
        """
        if not await listening(self._tool.port):
            return
        await self._family.end(grace_seconds=LEFTOVER_GRACE_SECONDS, clock=self._clock)
        if await listening(self._tool.port):
            raise CannotStartError(
                f"port {self._tool.port} is in use by a program outside this session"
            )

    def _change(self, phase: ToolPhase, message: str) -> None:
        self._phase = phase
        self._message = message
        self._on_change()
