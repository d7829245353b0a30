"""The steps of an orderly end, one after the other in the order they were registered.

A step that fails or runs over its limit is recorded, and the next one runs: that the tool ignored
SIGTERM is no reason to lose the final checkpoint. When the end is forced, the step in progress is
abandoned and only what a step names as `forced` still happens.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from msgspec.structs import replace

from agent.stopping import StopRequest, Superseded
from common.messages import StepState, StopStepStatus
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.clock import Clock

FORCED_SECONDS_MAX = 15.0
"""For what a forced end still does: SIGKILL to everything and seeing it gone."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do before the agent ends."""

    name: str
    """Shown to the user while it happens: `stop the tool`."""
    limit_seconds: Callable[[], float]
    act: Callable[[], Awaitable[None]]
    """Cancelled when it runs over or the end is forced; must be harmless to abandon there."""
    forced: Callable[[], Awaitable[None]] | None = None
    """What to do instead when the end is forced; None leaves the step out."""
    when_superseded: bool = True
    """False for what writes to places that belong to the newer run by then."""
    says: Callable[[], str] = lambda: ""
    """What is to be known while it happens, such as what it waits for; may be empty."""


class StopSequence:
    """The registered steps and how far they are."""

    def __init__(self, *, clock: Clock, on_change: Callable[[], None]) -> None:
        self._clock = clock
        self._on_change = on_change
        self._steps: list[Step] = []
        self._states: list[StopStepStatus] = []

    def register(self, step: Step) -> None:
        """Add a step behind the others."""
        self._steps.append(step)
        self._states.append(_status(step, StepState.PENDING))

    def status(self) -> tuple[StopStepStatus, ...]:
        return tuple(
            replace(state, message=step.says()) if state.state is StepState.IN_PROGRESS else state
            for step, state in zip(self._steps, self._states, strict=True)
        )

    async def run(self, request: StopRequest) -> None:
        """Do all steps; returns when the last one is over, however it went."""
        for index, step in enumerate(self._steps):
            self._set(index, _status(step, StepState.IN_PROGRESS))
            problem = await self._attempt(step, request)
            state = StepState.ERRORED if problem else StepState.SUCCEEDED
            self._set(index, _status(step, state, problem or ""))
            if problem:
                _log.warning("stop_step_failed", step=step.name, problem=problem)

    def _set(self, index: int, status: StopStepStatus) -> None:
        self._states[index] = status
        self._on_change()

    async def _attempt(self, step: Step, request: StopRequest) -> str | None:
        """Do one step; return what went wrong, or None."""
        if isinstance(request.cause, Superseded) and not step.when_superseded:
            return "left out: a newer run of this Studio has started"
        if not request.forced.is_set():
            problem = await self._within(step.act, step.limit_seconds(), request.forced)
            if not request.forced.is_set():
                return problem
        if step.forced is None:
            return "left out: the end was forced"
        return await self._within(step.forced, FORCED_SECONDS_MAX, None)

    async def _within(
        self,
        act: Callable[[], Awaitable[None]],
        limit_seconds: float,
        interrupt: asyncio.Event | None,
    ) -> str | None:
        """Run `act` until done, over its limit or interrupted; return what went wrong.

        It is a task in a bag rather than in a group: one that does not heed its cancellation is
        left behind, where a group would wait for it for ever.
        """
        tasks = TaskBag("stop-sequence")
        acting: asyncio.Task[str | None] = tasks.spawn(_caught(act), name="act")
        waits = [tasks.spawn(self._clock.sleep(limit_seconds), name="limit")]
        if interrupt is not None:
            waits.append(tasks.spawn(interrupt.wait(), name="interrupt"))
        try:
            await asyncio.wait({acting, *waits}, return_when=asyncio.FIRST_COMPLETED)
            if acting.done():
                return acting.result()
            return f"not done within {limit_seconds:.0f} s"
        finally:
            for task in (acting, *waits):
                task.cancel()


async def _caught(act: Callable[[], Awaitable[None]]) -> str | None:
    try:
        await act()
    except Exception as error:  # noqa: BLE001 - whatever it is, the next step must run
        return f"{type(error).__name__}: {error}"
    return None


def _status(step: Step, state: StepState, message: str = "") -> StopStepStatus:
    return StopStepStatus(
        name=step.name, state=state, limit_seconds=step.limit_seconds(), message=message
    )
