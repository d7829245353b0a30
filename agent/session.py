"""The tool on its ground: made, kept and ended together.

```
 make the ground ──▶ supervise the tool on it, keep the ground, measure both
      │ fails, or the ground is lost, or the tool is given up ──▶ the run is asked to end
      ▼
 stop: the making is cancelled, or the tool is ended ──▶ leave ──▶ save ──▶ detach
```

`run` asks for the end of the run and never ends anything itself: the stop sequence does, step by
step, through the acts below. Each of them is harmless at any time, also before `run`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.jupyter import JupyterProbe
from agent.parts import GroundFailedError, GroundTakenOverError
from agent.resources import ResourceMeter
from agent.stopping import Failed, Superseded
from agent.supervisor.supervisor import Supervisor, ToolGivenUpError
from common.tasks import first_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from agent.activity import Activity
    from agent.parts import OwnGround
    from agent.stopping import StopRequest
    from agent.supervisor.output import ToolOutput
    from common.clock import Clock
    from common.messages import ToolStatus
    from common.session_spec import SessionSpec


class Session:
    """One run's tool and ground. `on_change` is called whenever either may have a new status."""

    def __init__(
        self,
        spec: SessionSpec,
        ground: OwnGround,
        *,
        output: ToolOutput,
        activity: Activity,
        stop: StopRequest,
        statistics_interval_seconds: Callable[[], float],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> None:
        """Raise UnknownVariableError if the tool's command can't be built."""
        self._tool = spec.tool
        self._ground = ground
        self._output = output
        self._activity = activity
        self._stop = stop
        self._clock = clock
        self._supervisor = Supervisor(
            spec.tool,
            spec.environment,
            ground=ground,
            output=output,
            clock=clock,
            on_change=on_change,
        )
        self._meter = ResourceMeter(
            ground.use, interval_seconds=statistics_interval_seconds, clock=clock
        )
        self._making: asyncio.Task[None] | None = None
        self._stands = False

    async def run(self) -> None:
        """Make, keep and use the ground until cancelled; what goes wrong ends the run."""
        async with asyncio.TaskGroup() as group:
            self._making = group.create_task(self._make(), name="session-make")
            await asyncio.wait({self._making})
            if self._stands:
                for part in self._parts():
                    group.create_task(part)

    async def _make(self) -> None:
        try:
            await self._ground.make(output_fd=self._output.pipe)
        except GroundFailedError as error:
            self._stop.ask(Failed(str(error)))
        except GroundTakenOverError:
            self._stop.ask(Superseded())
        else:
            self._stands = True

    def _parts(self) -> list[Coroutine[None, None, None]]:
        parts = [self._keep(), self._supervise(), self._meter.run()]
        if self._tool.activity == "jupyter":
            probe = JupyterProbe(
                self._tool,
                self._ground.address(self._tool.port),
                self._activity,
                is_ready=self._supervisor.is_ready,
                clock=self._clock,
            )
            parts.append(probe.run())
        return parts

    async def _keep(self) -> None:
        try:
            await self._ground.run()
        except* GroundFailedError as errors:
            self._stop.ask(Failed(str(first_of(errors))))
        except* GroundTakenOverError:
            self._stop.ask(Superseded())

    async def _supervise(self) -> None:
        try:
            await self._supervisor.run()
        except ToolGivenUpError as error:
            self._stop.ask(Failed(str(error)))

    # ── The stop sequence's acts ─────────────────────────────────────────────

    async def stop_tool(self, grace_seconds: float) -> None:
        """End the tool and all that came from it: SIGTERM, the grace, SIGKILL."""
        await self._stop_making()
        await self._supervisor.stop(grace_seconds)

    async def kill_tool(self) -> None:
        """Like `stop_tool` without any grace, also while one is in progress."""
        await self._stop_making()
        await self._supervisor.kill()

    async def leave(self) -> None:
        """End what is left, and the session's root."""
        await self._stop_making()
        await self._ground.leave()

    async def save(self) -> None:
        """Save its files for good; what they were saved as before stays if that is cancelled."""
        await self._stop_making()
        try:
            await self._ground.save_last()
        except GroundTakenOverError:
            self._stop.ask(Superseded())
            raise

    async def detach(self) -> None:
        """Have everything in the volume's image, and let go of it."""
        await self._stop_making()
        await self._ground.detach()

    async def _stop_making(self) -> None:
        """Whoever is asked to end while the session is being made needs no session."""
        if self._making is not None and not self._making.done():
            self._making.cancel()
            await asyncio.wait({self._making})

    # ── What is asked of it ──────────────────────────────────────────────────

    def is_ready(self) -> bool:
        """Tell if the tool answers."""
        return self._supervisor.is_ready()

    def progress(self) -> str:
        """Say in a few words how far it is, for people who wait for it."""
        return self._supervisor.progress() if self._stands else self._ground.progress()

    def saving_problem(self) -> str:
        """Say why its files could not be saved when that was last tried; empty if they were."""
        checkpoint = self._ground.status().checkpoint
        if checkpoint is None or not checkpoint.message:
            return ""
        return f"{checkpoint.message} It is tried again by itself."

    def tool_status(self) -> ToolStatus:
        return self._supervisor.status(self._meter.latest)
