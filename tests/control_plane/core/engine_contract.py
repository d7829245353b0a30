"""The contract suite: what `Engine`'s docstring promises, for every implementation.

A test module subclasses `EngineContract` and gives it a fixture `rig`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from common.ids import RunNumber, SessionId
from control_plane.engines.engine import Alive, EngineUnavailableError, Gone, Job

if TYPE_CHECKING:
    from common.session_spec import SessionSpec
    from control_plane.engines.engine import Engine, JobState

SESSION = SessionId("0123abcd")
OTHER = SessionId("4567abcd")


class EngineRig(Protocol):
    """An engine with its host."""

    @property
    def engine(self) -> Engine: ...

    def spec(self, session_id: SessionId, run: int) -> SessionSpec: ...

    def restart(self) -> None:
        """Replace `engine` by a new object on the same host, as after kill -9."""
        ...

    def deafen(self) -> None:
        """Make the agents that start from now on deaf to being asked to end."""
        ...

    async def is_up(self, job: Job) -> None:
        """Wait until the agent is as it means to be: deaf, if it is."""
        ...

    def crash(self, job: Job) -> None:
        """Kill the agent as the kernel would."""
        ...

    def living(self, session_id: SessionId) -> int:
        """Count the agents of this session that live."""
        ...

    async def advance(self, seconds: float) -> None: ...


def job_of(run: int, session: SessionId = SESSION) -> Job:
    return Job(session_id=session, run_number=RunNumber(run))


class EngineContract:
    async def test_submitted_job_is_alive(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        assert (job.session_id, job.run_number) == (SESSION, 1)
        assert isinstance(await rig.engine.observe(job), Alive)
        assert rig.living(SESSION) == 1

    async def test_second_submit_of_a_run_starts_nothing(self, rig: EngineRig) -> None:
        first = await rig.engine.submit(rig.spec(SESSION, 1))
        assert await rig.engine.submit(rig.spec(SESSION, 1)) == first
        assert rig.living(SESSION) == 1

    async def test_concurrent_submits_of_a_run_start_one_agent(self, rig: EngineRig) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(rig.engine.submit(rig.spec(SESSION, 1)))
        assert rig.living(SESSION) == 1

    async def test_submit_of_an_ended_run_does_not_start_it_again(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        rig.crash(job)
        await gone(rig, job)
        await rig.engine.submit(rig.spec(SESSION, 1))
        assert rig.living(SESSION) == 0
        assert isinstance(await rig.engine.observe(job), Gone)

    async def test_next_run_waits_for_the_previous_to_end(self, rig: EngineRig) -> None:
        first = await rig.engine.submit(rig.spec(SESSION, 1))
        with pytest.raises(EngineUnavailableError):
            await rig.engine.submit(rig.spec(SESSION, 2))
        assert rig.living(SESSION) == 1
        await rig.engine.stop(first, grace_seconds=0)
        await gone(rig, first)
        await rig.engine.submit(rig.spec(SESSION, 2))
        assert isinstance(await rig.engine.observe(job_of(2)), Alive)
        assert isinstance(await rig.engine.observe(first), Gone)

    async def test_older_run_never_begins_after_a_newer(self, rig: EngineRig) -> None:
        newer = await rig.engine.submit(rig.spec(SESSION, 2))
        await rig.engine.stop(newer, grace_seconds=0)
        await gone(rig, newer)
        await rig.engine.submit(rig.spec(SESSION, 1))
        assert rig.living(SESSION) == 0

    async def test_job_that_was_never_submitted_is_gone_for_good(self, rig: EngineRig) -> None:
        assert isinstance(await rig.engine.observe(job_of(1)), Gone)

    async def test_run_observed_gone_never_begins(self, rig: EngineRig) -> None:
        # a submit from a control plane that was killed may still be on its way
        await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.engine.stop(job_of(1), grace_seconds=0)
        await gone(rig, job_of(1))
        assert isinstance(await rig.engine.observe(job_of(2)), Gone)
        await rig.engine.submit(rig.spec(SESSION, 2))
        assert rig.living(SESSION) == 0

    async def test_crashed_agent_is_gone(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        rig.crash(job)
        assert (await gone(rig, job)).reason

    async def test_stop_asks_first(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.engine.stop(job, grace_seconds=30)
        await gone(rig, job)

    async def test_stop_within_grace_leaves_the_agent_alone(self, rig: EngineRig) -> None:
        rig.deafen()
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.is_up(job)
        await rig.engine.stop(job, grace_seconds=30)
        await rig.advance(20)
        await rig.engine.stop(job, grace_seconds=30)
        assert isinstance(await rig.engine.observe(job), Alive)

    async def test_stop_forces_once_the_grace_is_over(self, rig: EngineRig) -> None:
        rig.deafen()
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.is_up(job)
        await rig.engine.stop(job, grace_seconds=30)
        await rig.advance(31)
        await rig.engine.stop(job, grace_seconds=30)
        await gone(rig, job)

    async def test_grace_of_zero_forces_at_once(self, rig: EngineRig) -> None:
        rig.deafen()
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.is_up(job)
        await rig.engine.stop(job, grace_seconds=0)
        await gone(rig, job)

    async def test_grace_survives_a_restart_of_the_control_plane(self, rig: EngineRig) -> None:
        rig.deafen()
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        await rig.is_up(job)
        await rig.engine.stop(job, grace_seconds=30)
        await rig.advance(31)
        rig.restart()
        await rig.engine.stop(job, grace_seconds=30)
        await gone(rig, job)

    async def test_stop_of_what_is_gone_is_no_error(self, rig: EngineRig) -> None:
        await rig.engine.stop(job_of(1), grace_seconds=0)
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        rig.crash(job)
        await gone(rig, job)
        await rig.engine.stop(job, grace_seconds=30)

    async def test_stop_of_one_session_spares_the_others(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        other = await rig.engine.submit(rig.spec(OTHER, 1))
        await rig.engine.stop(job, grace_seconds=0)
        await gone(rig, job)
        assert isinstance(await rig.engine.observe(other), Alive)

    async def test_stop_of_an_older_run_spares_the_newer(self, rig: EngineRig) -> None:
        await rig.engine.submit(rig.spec(SESSION, 2))
        await rig.engine.stop(job_of(1), grace_seconds=0)
        assert isinstance(await rig.engine.observe(job_of(2)), Alive)

    async def test_jobs_survive_the_control_plane(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        rig.restart()
        assert isinstance(await rig.engine.observe(job), Alive)
        await rig.engine.submit(rig.spec(SESSION, 1))
        assert rig.living(SESSION) == 1
        rig.restart()
        await rig.engine.stop(job_of(1), grace_seconds=0)  # without the handle
        await gone(rig, job)

    async def test_forget_waits_for_the_job(self, rig: EngineRig) -> None:
        job = await rig.engine.submit(rig.spec(SESSION, 1))
        with pytest.raises(EngineUnavailableError):
            await rig.engine.forget(SESSION)
        await rig.engine.stop(job, grace_seconds=0)
        await gone(rig, job)
        await rig.engine.forget(SESSION)
        await rig.engine.forget(SESSION)
        assert isinstance(await rig.engine.observe(job), Gone)


async def gone(rig: EngineRig, job: Job) -> Gone:
    """Wait until the engine says that the job is gone, as the reconciler does."""
    state: JobState | None = None
    async with asyncio.timeout(10):
        while not isinstance(state, Gone):
            state = await rig.engine.observe(job)
            await asyncio.sleep(0)
    return state
