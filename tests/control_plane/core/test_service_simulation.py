"""Random stories on the real service, database and reconciler: dozens, where the model tells
thousands, to show that the shell around the lifecycle keeps what the lifecycle promises.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from common.messages import RunPhase, RunState
from control_plane.engines.engine import EngineUnavailableError
from control_plane.errors import ConflictError
from control_plane.model import JobStanding, Status
from tests.control_plane.core.lifecycle_invariants import (
    OVER,
    UP,
    Chronicle,
    ViolationError,
    check_change,
    check_standing,
    has_expired,
)
from tests.control_plane.core.simulated_agent import Agent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.ids import RunNumber
    from common.messages import StatusReport
    from control_plane.model import Studio
    from tests.support.core_plane import Plane

STORIES = 12
STEPS = 40
SETTLE_TURNS = 200


@dataclass(slots=True)
class Story:
    """One Studio on a real control plane, with agents and a network that loses and repeats."""

    plane: Plane
    rng: random.Random
    studio: Studio
    agents: dict[RunNumber, Agent] = field(default_factory=dict)
    network: list[StatusReport] = field(default_factory=list)
    chronicle: Chronicle = field(default_factory=Chronicle)
    wants_run: bool = True
    ended_by_itself: bool = False

    def meet_agents(self) -> None:
        """Give every agent on the host a behaviour; end those that the host has ended."""
        for (_, run), hosted in self.plane.host.agents.items():
            agent = self.agents.setdefault(
                run, Agent(run, session_id=self.studio.session_id, alive=hosted.spec is not None)
            )
            agent.alive = agent.alive and hosted.ended is None

    def living(self) -> list[Agent]:
        return [agent for agent in self.agents.values() if agent.alive]

    async def look(self) -> None:
        """Check the change since the last look."""
        before, self.studio = self.studio, await self.plane.get(self.studio)
        now = self.plane.clock.now()
        check_change(before, self.studio, self.chronicle, now=now, event=None)
        if has_expired(before, self.studio):
            self.mark_stopped()
        self.meet_agents()
        hosted = self.plane.host.living(self.studio.session_id)
        check_standing(self.studio, living=len(hosted))

    def mark_stopped(self) -> None:
        self.wants_run = False
        self.chronicle.stopped_runs.add(self.studio.run_number)

    async def start(self) -> None:
        before = self.studio.run_number
        try:
            after = await self.plane.service.start(self.plane.admin, self.studio.session_id)
        except ConflictError:
            return
        if after.run_number != before:
            self.wants_run, self.ended_by_itself = True, False

    async def stop(self) -> None:
        after = await self.plane.service.stop(self.plane.admin, self.studio.session_id)
        if after.status in UP:
            raise ViolationError("a stop left the Studio up")
        self.mark_stopped()

    async def extend(self) -> None:
        try:
            await self.plane.service.extend(self.plane.admin, self.studio.session_id)
        except ConflictError:
            return

    async def save(self) -> None:
        try:
            await self.plane.service.save_now(self.plane.admin, self.studio.session_id)
        except ConflictError:
            return

    async def deliver(self, report: StatusReport) -> None:
        run = report.run_number
        if run == self.studio.run_number and report.phase in _ENDING:
            self.ended_by_itself = True
        desired = await self.plane.service.record_report(self.studio.session_id, run, report)
        if desired.run_state is RunState.RUN and run in self.chronicle.stopped_runs:
            raise ViolationError("a run that was stopped is told to run")
        if self.agents[run].alive and self.rng.random() < 0.8:  # else the reply is lost
            self.agents[run].obey(desired)

    def end_on_host(self, agent: Agent) -> None:
        self.plane.host.end(self.studio.session_id, agent.run)
        agent.alive = False

    def live_on(self, agent: Agent) -> None:
        agent.live_on()
        if not agent.alive:
            self.end_on_host(agent)


_ENDING = (RunPhase.STOPPING, RunPhase.STOPPED, RunPhase.SUPERSEDED)


# ── What may happen ──────────────────────────────────────────────────────────


async def _reconcile(story: Story) -> None:
    await story.plane.reconciler.run_once()


async def _restart(story: Story) -> None:
    await story.plane.restart()


async def _wait(story: Story) -> None:
    await story.plane.clock.advance(story.rng.choice((1.0, 5.0, 15.0, 100.0, 700.0)))


async def _jump(story: Story) -> None:
    story.plane.clock.jump(story.rng.choice((-3600.0, 3600.0)))


async def _be_moody(story: Story) -> None:
    story.plane.engine.trouble = [EngineUnavailableError("Away.")] * story.rng.randrange(3)
    story.plane.engine.is_blind = story.rng.random() < 0.2
    story.plane.probe.ok = story.rng.random() < 0.5


async def _live(story: Story) -> None:
    for agent in story.living():
        story.live_on(agent)


async def _say(story: Story) -> None:
    story.network.extend(agent.report() for agent in story.living())


async def _deliver(story: Story) -> None:
    if story.network:
        report = story.rng.choice(story.network)
        if story.rng.random() < 0.8:  # else it comes again
            story.network.remove(report)
        await story.deliver(report)


async def _lose(story: Story) -> None:
    if story.network:
        story.network.remove(story.rng.choice(story.network))


async def _crash(story: Story) -> None:
    for agent in story.living():
        story.end_on_host(agent)


async def _err(story: Story) -> None:
    for agent in story.living():
        if agent.phase in {RunPhase.STARTING, RunPhase.RUNNING}:
            agent.phase, agent.message = RunPhase.FAILED, "it broke"


_CHANCES: tuple[tuple[float, Callable[[Story], Awaitable[None]]], ...] = (
    (2.0, Story.start),
    (1.5, Story.stop),
    (0.5, Story.extend),
    (0.5, Story.save),
    (8.0, _reconcile),
    (5.0, _wait),
    (0.4, _jump),
    (1.5, _restart),
    (1.0, _be_moody),
    (5.0, _live),
    (6.0, _say),
    (8.0, _deliver),
    (2.0, _lose),
    (0.7, _crash),
    (0.7, _err),
)


async def settle(story: Story) -> None:
    """Let everything behave until the world is at rest."""
    plane = story.plane
    plane.engine.trouble, plane.engine.is_blind, plane.probe.ok = [], False, True
    calm = 0
    for _ in range(SETTLE_TURNS):
        await plane.clock.advance(10)
        await _live(story)
        await _say(story)
        while story.network:
            await story.deliver(story.network.pop(0))
        if story.studio.status is Status.STOPPING:
            await story.stop()
        await plane.reconciler.run_once()
        before = story.studio
        await story.look()
        rests = story.studio.status is before.status and _is_at_rest(story)
        calm = calm + 1 if rests else 0
        if calm > 12:  # two minutes: longer than silence takes
            return
    raise ViolationError(f"no rest: {story.studio.status} ({story.studio.status_message})")


def _is_at_rest(story: Story) -> bool:
    studio, now = story.studio, story.plane.clock.now()
    if studio.status in OVER:
        return studio.job is JobStanding.NONE
    due = studio.deadline is not None and studio.deadline <= now
    return studio.status is Status.RUNNING and not due


@pytest.mark.parametrize("seed", range(STORIES))
async def test_every_story_ends_as_people_asked(plane: Plane, seed: int) -> None:
    rng = random.Random(seed)
    story = Story(plane, rng, await plane.create(auto_start=True))
    actions, weights = [act for _, act in _CHANCES], [weight for weight, _ in _CHANCES]
    for _ in range(STEPS):
        await rng.choices(actions, weights)[0](story)
        await story.look()
    await settle(story)
    studio, hosted = story.studio, plane.host.living(story.studio.session_id)
    if studio.status is Status.RUNNING:
        assert story.wants_run
        assert hosted == [studio.run_number]
    else:
        assert hosted == []
        assert studio.status is Status.ERRORED or not story.wants_run or story.ended_by_itself
