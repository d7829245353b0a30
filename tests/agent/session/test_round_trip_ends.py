"""However a session ends, and whatever the next one is given, its files are there."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from common.messages import CheckpointPhase, RunState
from common.session_spec import VolumeLimits
from tests.support.saving_studio import SavingStudio, checkpoint_of
from tests.support.session_agent import MB

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tests.support.session_agent import AgentRun

    End = Callable[[AgentRun], Awaitable[None]]

pytestmark = pytest.mark.timeout(300)

LIMITS = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=256 * MB
)


async def by_signal(run: AgentRun) -> None:
    """As the machine is shut down, or taken away."""
    run.terminate()


async def by_control_plane(run: AgentRun) -> None:
    """As of a user, or after its lifespan."""
    await run.control_plane.wish(RunState.STOP, "its lifespan is over")


async def by_death(run: AgentRun) -> None:
    """All that runs in it is killed."""
    first = run.studio.first_process()
    assert first is not None
    os.kill(first, signal.SIGKILL)


@pytest.mark.parametrize("end", [by_signal, by_control_plane, by_death])
async def test_every_end_of_a_session_saves_the_same(end: End) -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out("echo first >/workspace/file; studio save; echo last >>/workspace/file")
            await end(run)
            report = await run.ended()
        assert checkpoint_of(report).phase is CheckpointPhase.FINALIZED
        assert not studio.image.exists()
        async with studio.session() as run:
            assert await run.out("cat /workspace/file") == "first\nlast"
            await run.stop()


async def test_more_than_the_next_volume_may_ever_hold_is_restored() -> None:
    with SavingStudio() as studio:
        async with studio.session() as run:
            await run.out("head -c 300M /dev/urandom >/workspace/large")
            before = await run.out("sha256sum /workspace/large")
            await run.stop()
        studio.volume = LIMITS
        async with studio.session() as run:
            assert await run.out("sha256sum /workspace/large") == before
            assert studio.image_bytes() == LIMITS.limit_bytes
            await run.out("head -c 100M /dev/urandom >/workspace/more")
            await run.stop()
        async with studio.session() as run:
            assert await run.out("ls /workspace") == "large\nmore"
            await run.stop()
