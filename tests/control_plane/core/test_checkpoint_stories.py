"""Random stories of Studios that save, begin with each other's checkpoints, and are deleted.

Storage is a table in memory, agents commit to it, their reports are lost, late and repeated, people
do what they are let, a collector deletes what it is told. In every story: a run finds what it was
told to begin with; that is its Studio's newest; nothing known goes backwards; and in the end, when
all Studios are deleted, so is all that they saved.
"""

from __future__ import annotations

import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import pytest

from common.messages import CheckpointPhase, RunPhase
from control_plane.errors import ConflictError, InvalidError, NotFoundError
from control_plane.model import DEFAULT_COMPUTE_ENV
from control_plane.model_checkpoints import Checkpoint, CheckpointState
from control_plane.removals import Removals
from control_plane.validation import CreateStudio
from tests.control_plane.core.checkpoint_scene import listed, status_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from common.ids import RunNumber, SessionId
    from common.messages import StatusReport
    from common.session_spec import CheckpointSpec
    from control_plane.model import Studio
    from tests.support.core_plane import Plane

STORIES = 4
STEPS = 60
STUDIOS_MAX = 4
WORK = "file:///nowhere/work"
_STATES = tuple(CheckpointState)


@dataclass(slots=True)
class Run:
    """One run's agent, as far as it saves."""

    spec: CheckpointSpec
    studio: Studio
    number: RunNumber
    generation: int = 0


@dataclass(slots=True)
class Story:
    plane: Plane
    rng: random.Random
    studios: list[Studio] = field(default_factory=list)
    stored: dict[str, int] = field(default_factory=dict)
    """The newest generation of each checkpoint in storage."""
    begun: dict[tuple[SessionId, RunNumber], Run] = field(default_factory=dict)
    network: list[tuple[Run, StatusReport]] = field(default_factory=list)
    known: dict[int, Checkpoint] = field(default_factory=dict)
    """Every checkpoint as it was last listed."""
    added: int = 0

    def some(self) -> Studio | None:
        return self.rng.choice(self.studios) if self.studios else None

    async def begin(self) -> None:
        """Let new agents look for what they begin with."""
        for key, agent in self.plane.host.agents.items():
            if agent.spec is None or agent.ended is not None or key in self.begun:
                continue
            spec = agent.spec.checkpoint
            assert spec is not None
            assert spec.id not in self.stored, "two runs save to one checkpoint"
            assert spec.parent_id is None or self.stored.get(spec.parent_id, 0) > 0, "it is gone"
            (studio,) = [one for one in self.studios if one.session_id == key[0]]
            self.begun[key] = Run(spec, studio, key[1])

    async def look(self) -> None:
        """Check every list against the one before."""
        seen: dict[int, Checkpoint] = {}
        for studio in self.studios:
            found = await listed(self.plane, studio)
            assert len({one.name for one in found}) == len(found)
            for one in found:
                before = self.known.get(one.id)
                if before is not None:
                    assert (before.storage_id, before.run_number) == (
                        one.storage_id,
                        one.run_number,
                    )
                    assert before.generation <= one.generation
                    assert _STATES.index(before.state) <= _STATES.index(one.state)
                seen[one.id] = one
        self.known |= seen

    def living(self) -> list[Run]:
        agents = self.plane.host.agents
        return [run for key, run in self.begun.items() if agents[key].ended is None]


# ── What may happen ──────────────────────────────────────────────────────────


async def _add(story: Story) -> None:
    known = [one.id for one in story.known.values()]
    if len(story.studios) >= STUDIOS_MAX:
        return
    initial = story.rng.choice(known) if known and story.rng.random() < 0.7 else None
    story.added += 1
    request = CreateStudio(
        name=f"number {story.added}",
        compute_env_id=DEFAULT_COMPUTE_ENV,
        initial_checkpoint_id=initial,
    )
    with contextlib.suppress(ConflictError, InvalidError, NotFoundError):
        story.studios.append(
            await story.plane.service.create(story.plane.admin, request, auto_start=False)
        )


async def _start(story: Story) -> None:
    studio = story.some()
    if studio is None:
        return
    own = [one for one in await listed(story.plane, studio) if one.generation > 0]
    before = (await story.plane.get(studio)).run_number
    with contextlib.suppress(ConflictError):
        after = await story.plane.service.start(story.plane.admin, studio.session_id)
        if after.run_number == before:
            return
        opened = (await listed(story.plane, studio))[0]
        assert (opened.run_number, opened.generation) == (after.run_number, 0)
        if own:
            assert opened.parent_id == own[0].id, "not the newest"
        else:
            initial = after.parent_checkpoint
            assert opened.parent_id == (initial.checkpoint_id if initial else None)


async def _stop(story: Story) -> None:
    if (studio := story.some()) is not None:
        await story.plane.service.stop(story.plane.admin, studio.session_id)


async def _turn(story: Story) -> None:
    for _ in range(story.rng.randrange(1, 4)):
        await story.plane.turn(story.rng.choice((1.0, 5.0, 15.0)))
    await story.begin()


async def _crash(story: Story) -> None:
    for run in story.living():
        if story.rng.random() < 0.5:
            story.plane.host.end(run.studio.session_id, run.number)
            story.plane.agent(run.studio, run.number).phase = RunPhase.STOPPED


async def _commit(story: Story) -> None:
    for run in story.living():
        run.generation += 1
        story.stored[run.spec.id] = run.generation
        agent = story.plane.agent(run.studio, run.number)
        ends = agent.phase not in {RunPhase.STARTING, RunPhase.RUNNING}
        status = status_of(
            run.spec.id,
            run.generation,
            committed_at=story.plane.clock.now(),
            phase=CheckpointPhase.FINALIZED if ends else CheckpointPhase.INTERIM,
            parent_id=run.spec.parent_id,
        )
        report = agent.report(story.plane.clock)
        story.network.append((run, msgspec.structs.replace(report, checkpoint=status)))


async def _deliver(story: Story) -> None:
    for _ in range(min(2, len(story.network))):
        run, report = story.rng.choice(story.network)
        if story.rng.random() < 0.8:  # else it comes again
            story.network.remove((run, report))
        with contextlib.suppress(NotFoundError):
            await story.plane.service.record_report(run.studio.session_id, run.number, report)


async def _delete_checkpoint(story: Story) -> None:
    if not story.known:
        return
    one = story.rng.choice(list(story.known.values()))
    with contextlib.suppress(ConflictError, NotFoundError):
        await story.plane.service.delete_checkpoint(story.plane.admin, one.session_id, one.id)


async def _delete(story: Story) -> None:
    studio = story.some()
    with contextlib.suppress(ConflictError):
        if studio is not None:
            await story.plane.service.delete(story.plane.admin, studio.session_id)
            story.studios.remove(studio)


async def _leave(story: Story) -> None:
    """End a Studio that others may have been added from, until nothing of it is left."""
    studio = story.some()
    if studio is None:
        return
    await story.plane.service.stop(story.plane.admin, studio.session_id)
    for _ in range(4):
        await story.plane.turn(11)
    await story.begin()
    with contextlib.suppress(ConflictError):
        await story.plane.service.delete(story.plane.admin, studio.session_id)
        story.studios.remove(studio)
    for _ in range(2):
        await story.plane.turn(11)
    await story.begin()
    await _collect(story)


async def _collect(story: Story) -> None:
    async with Removals(story.plane.service.core).hold(WORK) as hold:
        assert hold is not None
        for doomed in await hold.to_delete():
            story.stored.pop(doomed.storage_id, None)
            await hold.deleted(doomed.id)
        for one in await hold.unsure():
            found = story.stored.get(one.storage_id)
            await hold.looked_up(one, status_of(one.storage_id, found) if found else None)


_CHANCES: tuple[tuple[float, Callable[[Story], Awaitable[None]]], ...] = (
    (3.0, _add),
    (3.0, _start),
    (2.0, _stop),
    (4.0, _turn),
    (0.5, _crash),
    (5.0, _commit),
    (5.0, _deliver),
    (2.0, _delete_checkpoint),
    (0.5, _delete),
    (1.0, _leave),
    (2.0, _collect),
)


async def _end(story: Story) -> None:
    """Stop and delete everything, and collect until nothing is left to do."""
    story.network.clear()
    for studio in list(story.studios):
        await story.plane.service.stop(story.plane.admin, studio.session_id)
        now = await story.plane.get(studio)
        if now.status not in {"stopped", "errored"}:
            await story.plane.run_until(studio, "stopped")
        await story.plane.service.delete(story.plane.admin, studio.session_id)
    story.studios.clear()
    for _ in range(30):
        await story.plane.turn(11)
    await _collect(story)


@pytest.mark.parametrize("seed", range(STORIES))
async def test_every_run_finds_what_it_begins_with_and_nothing_is_left(
    plane: Plane, seed: int
) -> None:
    rng = random.Random(seed)
    story = Story(plane, rng)
    await _add(story)
    actions, weights = [act for _, act in _CHANCES], [weight for weight, _ in _CHANCES]
    for _ in range(STEPS):
        await rng.choices(actions, weights)[0](story)
        await story.look()
    unknown = {run.spec.id for run in story.begun.values()} - {
        one.storage_id for one in story.known.values()
    }
    await _end(story)
    (work,) = await Removals(plane.service.core).work_directories()
    assert not work.is_waiting
    assert story.stored.keys() <= unknown
