"""Thousands of random stories against the lifecycle; each must end as people asked.

A story: people's commands, reports lost, repeated and overtaken, kill -9 of the control plane at
any step, engines that fail, answer late or can't tell, agents that crash, err and turn deaf, clocks
that jump. Then everything behaves again, and the world must settle.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from common.messages import RunPhase
from control_plane.model import JobStanding, Status
from tests.control_plane.core.lifecycle_invariants import OVER, ViolationError
from tests.control_plane.core.lifecycle_model import World

if TYPE_CHECKING:
    from collections.abc import Callable

STORIES = 5_000
STEPS_MAX = 120
SETTLE_SECONDS = 2500.0
"""A stop that is forced after ten minutes, a deadline held, a silence, in a row."""
SETTLE_STEP_SECONDS = 5.0
PASSES_MAX = 100
CALM_SECONDS = 200.0
"""Twice what silence takes: nothing is on its way any more."""


def tell_story(seed: int) -> World:
    rng = random.Random(seed)
    world = World(rng)
    world.start()
    for _ in range(rng.randrange(STEPS_MAX)):
        _ACTIONS[rng.choices(range(len(_ACTIONS)), _WEIGHTS)[0]](world)
    settle(world)
    return world


def settle(world: World) -> None:
    """Let everything behave, and the world come to rest; then it must be as people asked."""
    world.engine_fails = world.engine_refuses = world.engine_blind = world.probe_fails = False
    calm, last = 0.0, None
    for _ in range(int(SETTLE_SECONDS / SETTLE_STEP_SECONDS)):
        _behave(world)
        now = _looks(world)
        calm = calm + SETTLE_STEP_SECONDS if now == last else 0.0
        last = now
        if calm >= CALM_SECONDS and _is_at_rest(world):
            break
    check_end(world)


def _behave(world: World) -> None:
    world.advance(SETTLE_STEP_SECONDS)
    for agent in world.agents:
        agent.live_on()
        world.send_report(agent)
    while world.network:
        world.deliver(0)
    for _ in range(PASSES_MAX):
        if not world.reconcile():
            break
    else:
        raise ViolationError("there is always something left to do")
    studio = world.studio
    if studio is not None and studio.status is Status.STOPPING:
        world.stop()  # somebody waits for it; after ten minutes this forces


def _looks(world: World) -> object:
    if world.studio is None:
        return None
    studio = world.studio
    return studio.status, studio.run_number, studio.job, len(world.living())


def _is_at_rest(world: World) -> bool:
    studio = world.studio
    if studio is None:
        return True
    if studio.status in OVER and not studio.deleted:
        return studio.job is JobStanding.NONE
    is_due = studio.deadline is not None and studio.deadline <= world.calendar
    return studio.status is Status.RUNNING and not is_due


def check_end(world: World) -> None:
    studio = world.studio
    if studio is None:
        if world.living():
            raise ViolationError("deleted, and a job is alive")
        return
    if studio.deleted:
        raise ViolationError("deleted, but never forgotten")
    if studio.status in OVER and (world.living() or studio.job is not JobStanding.NONE):
        raise ViolationError(f"{studio.status}, and a job is alive or believed to be")
    if not world.wants_run and studio.status not in OVER:
        raise ViolationError(f"a wanted stop ended {studio.status}")
    if world.wants_run:
        _check_wanted_run(world)


def _check_wanted_run(world: World) -> None:
    studio = world.studio
    assert studio is not None
    if studio.status is Status.RUNNING:
        if [agent.run for agent in world.living()] != [studio.run_number]:
            raise ViolationError("running without its agent")
        if studio.deadline is not None and studio.deadline <= world.calendar:
            raise ViolationError("running beyond its deadline")
    elif studio.status is Status.STOPPED and not world.ended_by_itself:
        raise ViolationError("stopped, and nobody asked for it")
    elif studio.status not in OVER:
        raise ViolationError(f"a wanted run ended {studio.status}")


# ── What may happen ──────────────────────────────────────────────────────────


def _some_agent(act: Callable[[World, int], None]) -> Callable[[World], None]:
    def action(world: World) -> None:
        if world.agents:
            act(world, world.rng.randrange(len(world.agents)))

    return action


def _some_message(act: Callable[[World, int], None]) -> Callable[[World], None]:
    def action(world: World) -> None:
        if world.network:
            act(world, world.rng.randrange(len(world.network)))

    return action


def _crash(world: World, index: int) -> None:
    world.agents[index].alive = False


def _err(world: World, index: int) -> None:
    """Report an error and be over, or, the next time, be running after all."""
    agent = world.agents[index]
    if agent.phase in {RunPhase.STARTING, RunPhase.RUNNING, RunPhase.STOPPING}:
        agent.phase, agent.message = RunPhase.FAILED, "it broke"


def _recover(world: World, index: int) -> None:
    agent = world.agents[index]
    if agent.phase is RunPhase.FAILED and agent.stop_asked_at is None:
        agent.phase, agent.message = RunPhase.RUNNING, ""


def _leave(world: World, index: int) -> None:
    """The machine goes away: the agent stops in order, though nobody asked."""
    world.agents[index].ask_to_stop()


def _reconcile(world: World) -> None:
    world.reconcile()


def _lose(world: World, index: int) -> None:
    del world.network[index]


def _wait(world: World) -> None:
    world.advance(world.rng.choice((0.5, 1.0, 5.0, 15.0, 100.0, 700.0)))


def _jump(world: World) -> None:
    monotonic = world.monotonic
    world.advance(world.rng.choice((-3600.0, 3600.0)))
    world.monotonic = monotonic


def _be_moody(world: World) -> None:
    world.engine_fails = world.rng.random() < 0.3
    world.engine_refuses = world.rng.random() < 0.05
    world.engine_blind = world.rng.random() < 0.2
    world.probe_fails = world.rng.random() < 0.5


_CHANCES: tuple[tuple[float, Callable[[World], None]], ...] = (
    (3.0, World.start),
    (2.0, World.stop),
    (0.5, World.extend),
    (0.3, World.delete),
    (8.0, _wait),
    (0.4, _jump),
    (20.0, _reconcile),
    (1.5, World.kill_control_plane),
    (1.0, _be_moody),
    (8.0, _some_agent(lambda world, index: world.agents[index].live_on())),
    (10.0, _some_agent(lambda world, index: world.send_report(world.agents[index]))),
    (1.0, _some_agent(_crash)),
    (1.0, _some_agent(_err)),
    (1.0, _some_agent(_recover)),
    (0.3, _some_agent(_leave)),
    (15.0, _some_message(lambda world, index: world.deliver(index))),
    (3.0, _some_message(lambda world, index: world.deliver(index, keep=True))),
    (3.0, _some_message(_lose)),
)
_WEIGHTS = [weight for weight, _ in _CHANCES]
_ACTIONS = [action for _, action in _CHANCES]


@pytest.mark.parametrize("first", range(0, STORIES, STORIES // 10))
def test_every_story_ends_as_people_asked(first: int) -> None:
    for seed in range(first, first + STORIES // 10):
        try:
            tell_story(seed)
        except ViolationError as violation:
            raise AssertionError(f"seed {seed}: {violation}") from violation


def test_stories_reach_everything() -> None:
    # a simulation that never gets anywhere proves nothing
    ends = [tell_story(seed) for seed in range(300)]
    statuses = {world.studio.status for world in ends if world.studio is not None}
    assert statuses >= {Status.STOPPED, Status.ERRORED, Status.RUNNING}
    assert any(world.studio is None for world in ends)
    assert max(len(world.agents) for world in ends) > 2
