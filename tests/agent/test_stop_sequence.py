"""The stop sequence: every step gets its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from agent.stop_sequence import Step, StopSequence
from agent.stopping import (
    Cause,
    Failed,
    Requested,
    StopRequest,
    Superseded,
    exit_code,
    final_phase,
)
from common.clock import SteppingClock, settle
from common.messages import RunPhase, StepState

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class Sequence:
    """A sequence under test, and what its steps did."""

    def __init__(self) -> None:
        self.clock = SteppingClock()
        self.done: list[str] = []
        self.changes = 0
        self.request = StopRequest()
        self.sequence = StopSequence(clock=self.clock, on_change=self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def note(self, name: str) -> Callable[[], Awaitable[None]]:
        async def act() -> None:
            self.done.append(name)

        return act

    def add(
        self,
        name: str,
        act: Callable[[], Awaitable[None]] | None = None,
        *,
        forced: Callable[[], Awaitable[None]] | None = None,
        when_superseded: bool = True,
        says: Callable[[], str] = lambda: "",
    ) -> None:
        self.sequence.register(
            Step(
                name=name,
                limit_seconds=lambda: 10.0,
                act=act or self.note(name),
                forced=forced,
                when_superseded=when_superseded,
                says=says,
            )
        )

    def states(self) -> list[StepState]:
        return [step.state for step in self.sequence.status()]


async def forever() -> None:
    await asyncio.Event().wait()


async def test_steps_run_in_the_order_they_were_registered() -> None:
    it = Sequence()
    for name in ("a", "b", "c"):
        it.add(name)
    assert it.states() == [StepState.PENDING] * 3
    await it.sequence.run(it.request)
    assert it.done == ["a", "b", "c"]
    assert it.states() == [StepState.SUCCEEDED] * 3
    assert it.changes == 6


async def test_a_step_that_fails_is_recorded_and_the_next_one_runs() -> None:
    async def fails() -> None:
        raise OSError("disk on fire")

    it = Sequence()
    it.add("first", fails)
    it.add("second")
    await it.sequence.run(it.request)
    assert it.states() == [StepState.ERRORED, StepState.SUCCEEDED]
    assert it.sequence.status()[0].message == "OSError: disk on fire"


async def test_a_step_says_what_it_waits_for_for_as_long_as_it_waits() -> None:
    it = Sequence()
    reason = ""
    it.add("first", forever, says=lambda: reason)
    async with asyncio.TaskGroup() as group:
        group.create_task(it.sequence.run(it.request))
        await settle()
        assert it.sequence.status()[0].message == ""
        reason = "the store is away"
        assert it.sequence.status()[0].message == reason
        await it.clock.advance(11)
    assert it.sequence.status()[0].message == "not done within 10 s"


async def test_a_step_that_runs_over_is_cancelled_and_the_next_one_runs() -> None:
    cancelled = asyncio.Event()

    async def hangs() -> None:
        try:
            await forever()
        finally:
            cancelled.set()

    it = Sequence()
    it.add("first", hangs)
    it.add("second")
    async with asyncio.TaskGroup() as group:
        group.create_task(it.sequence.run(it.request))
        await settle()
        assert it.states() == [StepState.IN_PROGRESS, StepState.PENDING]
        await it.clock.advance(9.9)
        assert it.states()[0] is StepState.IN_PROGRESS
        await it.clock.advance(0.2)
    assert it.states() == [StepState.ERRORED, StepState.SUCCEEDED]
    assert it.sequence.status()[0].message == "not done within 10 s"
    await cancelled.wait()


async def test_a_step_that_does_not_heed_its_cancellation_is_left_behind() -> None:
    release = asyncio.Event()

    async def deaf() -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    it = Sequence()
    it.add("first", deaf)
    it.add("second")
    async with asyncio.TaskGroup() as group:
        group.create_task(it.sequence.run(it.request))
        await settle()
        await it.clock.advance(11)
    assert it.states() == [StepState.ERRORED, StepState.SUCCEEDED]
    release.set()
    await settle()


async def test_force_interrupts_the_step_in_progress_and_leaves_out_what_waits_outside() -> None:
    it = Sequence()
    it.add("stop the tool", forever, forced=it.note("kill the tool"))
    it.add("final checkpoint")
    it.add("unmount", forced=it.note("unmount at once"))
    async with asyncio.TaskGroup() as group:
        group.create_task(it.sequence.run(it.request))
        await settle()
        it.request.force(Requested("now"))
    assert it.done == ["kill the tool", "unmount at once"]
    assert it.states() == [StepState.SUCCEEDED, StepState.ERRORED, StepState.SUCCEEDED]


async def test_a_superseded_run_leaves_out_what_belongs_to_the_newer_one() -> None:
    it = Sequence()
    it.add("stop the tool")
    it.add("final checkpoint", when_superseded=False)
    it.request.ask(Superseded())
    await it.sequence.run(it.request)
    assert it.done == ["stop the tool"]


async def test_the_gravest_cause_is_remembered_and_the_first_of_equals() -> None:
    request = StopRequest()
    asked: list[tuple[Cause, Cause]] = [
        (Requested("first"), Requested("first")),
        (Requested("second"), Requested("first")),
        (Failed("broken"), Failed("broken")),
        (Requested("third"), Failed("broken")),
        (Superseded(), Superseded()),
    ]
    for cause, expected in asked:
        request.ask(cause)
        assert await request.wait() == expected


def test_how_a_run_ends_follows_from_its_cause() -> None:
    assert [(final_phase(c), exit_code(c)) for c in (Requested(""), Failed(""), Superseded())] == [
        (RunPhase.STOPPED, 0),
        (RunPhase.FAILED, 1),
        (RunPhase.SUPERSEDED, 0),
    ]
