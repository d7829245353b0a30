"""A work directory is away or refuses: the session goes on, the stop waits, nothing is lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from common.messages import CheckpointPhase, RunPhase, RunState, StepState
from tests.support.bucket_studio import BucketStudio, bucket_studio
from tests.support.faulty_s3 import Answer
from tests.support.s3_servers import moto_server
from tests.support.saving_studio import checkpoint_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from common.messages import StatusReport

INTERVAL_SECONDS = 1.0
DOWN = Answer(503, "ServiceUnavailable")
REVOKED = Answer(403, "AccessDenied")
WRITE = "mkdir -p /workspace && echo {0} >/workspace/{0}"

pytestmark = pytest.mark.timeout(300)
"""A store that is down is asked for half a minute each time, and several times."""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def studio(moto: str) -> AsyncIterator[BucketStudio]:
    async with bucket_studio(moto, interval_seconds=INTERVAL_SECONDS) as studio:
        yield studio


def has_saved(report: StatusReport) -> bool:
    return report.checkpoint is not None and report.checkpoint.generation > 0


def tells_trouble(report: StatusReport) -> bool:
    return report.checkpoint is not None and report.checkpoint.message != ""


def is_saving_the_last(report: StatusReport) -> bool:
    return any(
        step.name == "save the files" and step.state is StepState.IN_PROGRESS
        for step in report.stop_steps
    )


@pytest.mark.parametrize(
    ("trouble", "words"),
    [
        pytest.param(DOWN, "503", id="down"),
        pytest.param(REVOKED, "credentials", id="revoked"),
    ],
)
async def test_the_session_goes_on_without_its_store_and_the_stop_waits_for_it(
    studio: BucketStudio, trouble: Answer, words: str
) -> None:
    async with studio.session() as run:
        await run.out(WRITE.format("before"))
        await run.control_plane.reported(has_saved)
        studio.s3.otherwise = trouble
        await run.out(WRITE.format("meanwhile"))
        told = checkpoint_of(await run.control_plane.reported(tells_trouble))
        assert told.message.startswith("The files could not be saved: ")
        assert words in told.message, told.message
        assert told.committed_at is not None
        assert await run.out("cat /workspace/before") == "before", "the session goes on"
        run.terminate()
        await run.control_plane.reported(is_saving_the_last)
        later = await run.control_plane.reported(
            lambda report: (
                is_saving_the_last(report)
                and tells_trouble(report)
                and checkpoint_of(report).failures > told.failures
            )
        )
        assert checkpoint_of(later).committed_at == told.committed_at, "as old as it says"
        assert run.lives(), "the stop waits"
        [waiting] = [step for step in later.stop_steps if step.state is StepState.IN_PROGRESS]
        assert words in waiting.message
        studio.s3.otherwise = None
        report = await run.ended()
    assert report.phase is RunPhase.STOPPED
    assert checkpoint_of(report).phase is CheckpointPhase.FINALIZED
    assert checkpoint_of(report).message == ""
    assert not studio.image.exists()
    studio.assert_left_in_order()
    async with studio.session() as run:
        assert await run.out("ls /workspace") == "before\nmeanwhile"
        await run.stop()


async def test_a_forced_end_keeps_the_volume_and_the_next_start_saves_it(
    studio: BucketStudio,
) -> None:
    async with studio.session() as run:
        await run.out(WRITE.format("before"))
        await run.control_plane.reported(has_saved)
        studio.s3.otherwise = REVOKED
        await run.out(WRITE.format("meanwhile"))
        await run.control_plane.reported(tells_trouble)
        await run.control_plane.wish(RunState.STOP)
        await run.control_plane.reported(is_saving_the_last)
        await run.control_plane.wish(RunState.FORCE_STOP)
        report = await run.ended()
    assert report.phase is RunPhase.STOPPED
    assert studio.image.exists()
    studio.assert_left_in_order()
    studio.s3.otherwise = None
    async with studio.session() as run:
        assert await run.out("ls /workspace") == "before\nmeanwhile"
        earlier = run.control_plane.reports[-1].earlier_checkpoint
        await run.stop()
    assert earlier is not None
    assert earlier.phase is CheckpointPhase.FINALIZED


async def test_a_start_waits_for_a_store_that_is_down_says_so_and_can_be_stopped(
    studio: BucketStudio,
) -> None:
    studio.s3.otherwise = DOWN
    async with studio.agent() as run:
        told = await run.control_plane.reported(lambda report: "tried again" in report.message)
        assert told.phase is RunPhase.STARTING
        assert "503" in told.message
        run.terminate()
        report = await run.ended()
    assert report.phase is RunPhase.STOPPED
    studio.assert_left_in_order()


async def test_a_start_with_revoked_credentials_fails_and_names_them(studio: BucketStudio) -> None:
    studio.s3.otherwise = REVOKED
    async with studio.agent() as run:
        report = await run.ended()
    assert report.phase is RunPhase.FAILED
    assert "credentials" in report.message
    studio.s3.otherwise = None
    async with studio.session() as run:
        await run.stop()
    studio.assert_left_in_order()
