"""Runs that save: what tests of checkpoints say in the place of agents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from common.messages import CheckpointPhase, CheckpointStatus, RunPhase
from control_plane.model import DEFAULT_COMPUTE_ENV, Person, Role
from control_plane.validation import CreateStudio

if TYPE_CHECKING:
    from common.session_spec import CheckpointSpec
    from control_plane.model import Studio
    from control_plane.model_checkpoints import Checkpoint
    from tests.support.core_plane import Plane


def status_of(storage_id: str, generation: int = 1, **fields: Any) -> CheckpointStatus:
    """What an agent says of a checkpoint with some files in it."""
    phase = CheckpointPhase.INTERIM if generation else CheckpointPhase.EMPTY
    known = {"phase": phase, "entries": 3, "file_bytes": 1000, "stored_bytes": 500}
    return CheckpointStatus(id=storage_id, generation=generation, **{**known, **fields})


async def spec_of(plane: Plane, studio: Studio, run: int) -> CheckpointSpec:
    """What the agent of a run was told."""
    await plane.reconciler.run_once()
    (spec,) = [
        agent.spec
        for (session_id, number), agent in plane.host.agents.items()
        if session_id == studio.session_id and number == run
    ]
    assert spec is not None
    assert spec.checkpoint is not None
    return spec.checkpoint


async def say(
    plane: Plane,
    studio: Studio,
    run: int,
    checkpoint: CheckpointStatus | None,
    earlier: CheckpointStatus | None = None,
) -> None:
    """Have a run's agent report."""
    report = msgspec.structs.replace(
        plane.agent(studio, run).report(plane.clock),
        checkpoint=checkpoint,
        earlier_checkpoint=earlier,
    )
    await plane.service.record_report(studio.session_id, report.run_number, report)


async def save(plane: Plane, studio: Studio, generation: int = 1, **fields: Any) -> Checkpoint:
    """Have the newest run's agent commit a generation."""
    run = (await plane.get(studio)).run_number
    spec = await spec_of(plane, studio, run)
    now = plane.clock.now()
    said = status_of(spec.id, generation, **{"committed_at": now, **fields})
    await say(plane, studio, run, said)
    return await newest(plane, studio)


async def stop(plane: Plane, studio: Studio, *, finalized: bool = True) -> Studio:
    """End the session; with what it saved finalized, or as it is."""
    shown = await plane.service.checkpoints_shown([studio])
    last = shown.get(studio.session_id)
    if finalized and last is not None and last.generation:
        final = CheckpointPhase.FINALIZED
        await save(plane, studio, last.generation + 1, phase=final)
    await plane.service.stop(plane.admin, studio.session_id)
    return await plane.run_until(studio, "stopped")


async def crash(plane: Plane, studio: Studio) -> Studio:
    """End the session's job without a word."""
    now = await plane.get(studio)
    plane.host.end(studio.session_id, now.run_number, "killed")
    plane.agent(studio, now.run_number).phase = RunPhase.STOPPED
    return await plane.run_until(studio, "errored", turns=200)


async def listed(plane: Plane, studio: Studio, search: str = "") -> list[Checkpoint]:
    """All of a Studio's checkpoints, newest first."""
    _, found, total = await plane.service.checkpoints(plane.admin, studio.session_id, search=search)
    assert total == len(found)
    return found


async def newest(plane: Plane, studio: Studio) -> Checkpoint:
    return (await listed(plane, studio))[0]


async def member(plane: Plane, role: Role, name: str = "Bob") -> Person:
    return await plane.service.add_user(plane.admin, name, role)


async def stopped(plane: Plane, name: str = "demo") -> tuple[Studio, Checkpoint]:
    """A Studio that has saved something and runs no more."""
    studio = await plane.running(name)
    await save(plane, studio)
    studio = await stop(plane, studio)
    return studio, await newest(plane, studio)


async def from_it(
    plane: Plane, checkpoint: Checkpoint, name: str = "new", person: Person | None = None
) -> Studio:
    request = CreateStudio(
        name=name, compute_env_id=DEFAULT_COMPUTE_ENV, initial_checkpoint_id=checkpoint.id
    )
    return await plane.service.create(person or plane.admin, request, auto_start=False)
