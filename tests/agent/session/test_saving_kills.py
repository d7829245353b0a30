"""kill -9 of the agent, or of its saver, anywhere in a run that saves its files: nothing is lost.

Every run is killed at another place, and the next one begins with what that left: on the same host
with all that was written, on another one with what the status had promised, at least. A few places
are tried each time, all of them in `make soak`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.layer import MARK_NAME
from agent.checkpointing.volume_note import NAME, read_note
from agent.session_files import RESTORED
from tests.support.bucket_studio import BucketStudio, bucket_studio
from tests.support.faulty_s3 import Event
from tests.support.killed_runs import KilledRuns
from tests.support.s3_servers import moto_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from tests.support.session_agent import AgentRun

PLACES = 3
"""Of each test, each time: a run takes three seconds, and five more where it is tried again."""


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    with moto_server() as url:
        yield url


@pytest.fixture
async def studio(moto: str) -> AsyncIterator[BucketStudio]:
    async with bucket_studio(moto) as studio:
        yield studio


@pytest.fixture
async def runs(studio: BucketStudio) -> KilledRuns:
    """Of a Studio that has something already."""
    runs = KilledRuns(studio)
    assert await runs.run()
    return runs


async def operations(runs: KilledRuns) -> int:
    """Return how many the store is asked for by a run that nobody kills."""
    before = len(runs.studio.s3.requests)
    assert await runs.run()
    return len(runs.studio.s3.requests) - before


def script(runs: KilledRuns, number: int, act: Callable[[], None], *, is_done: bool) -> None:
    """Have something happen at one operation, which is carried out or is not."""
    answers = runs.studio.s3.answers
    answers.clear()
    answers.extend([None] * number)
    answers.append(Event(0, passes_on=is_done, act=act))


async def kill_at_operations(runs: KilledRuns, numbers: Sequence[int], rng: random.Random) -> None:
    ended = 0
    for number in numbers:
        script(runs, number, runs.kill_agent, is_done=rng.random() < 0.5)
        ended += await runs.run()
        runs.studio.s3.answers.clear()
        if rng.random() < 0.5:
            runs.lose_host()
    assert ended <= len(numbers) // 3, "most have so many operations, and are killed"
    assert await runs.run()
    assert await runs.run()
    runs.studio.assert_left_in_order()


async def kill_savers_at_operations(
    runs: KilledRuns, numbers: Sequence[int], rng: random.Random
) -> None:
    for number in numbers:
        script(runs, number, runs.kill_saver, is_done=rng.random() < 0.5)
        assert await runs.run(), "the agent goes on"
        assert not runs.studio.image.exists(), "all was saved in the end"
        runs.studio.s3.answers.clear()
        runs.lose_host()
    assert await runs.run()


@pytest.mark.timeout(300)
async def test_killed_at_some_operations_of_the_store_nothing_is_lost(runs: KilledRuns) -> None:
    rng = random.Random()
    count = await operations(runs)
    assert count > 20
    await kill_at_operations(runs, sorted(rng.sample(range(count), PLACES)), rng)


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_operation_of_the_store_nothing_is_lost(
    runs: KilledRuns, seed: int
) -> None:
    count = await operations(runs)
    await kill_at_operations(runs, range(count + 10), random.Random(seed))


@pytest.mark.timeout(300)
async def test_a_saver_that_is_killed_at_some_operations_is_made_up_for(runs: KilledRuns) -> None:
    rng = random.Random()
    count = await operations(runs)
    await kill_savers_at_operations(runs, rng.sample(range(count), PLACES), rng)


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_a_saver_that_is_killed_at_any_operation_is_made_up_for(runs: KilledRuns) -> None:
    count = await operations(runs)
    await kill_savers_at_operations(runs, range(count), random.Random(1))


# ── Where the store has no part ──────────────────────────────────────────────


def restoring(studio: BucketStudio, _: AgentRun) -> bool:
    return (studio.state / RESTORED / studio.image.name).exists()


def restored(studio: BucketStudio, _: AgentRun) -> bool:
    return (studio.state / RESTORED / MARK_NAME).exists()


def noted(studio: BucketStudio, _: AgentRun) -> bool:
    note = read_note(studio.state) if (studio.state / NAME).exists() else None
    return note is not None and note.run_number == studio.runs


def volume_is_made(studio: BucketStudio, run: AgentRun) -> bool:
    return noted(studio, run) and studio.image.exists()


def snapshot_is_taken(studio: BucketStudio, run: AgentRun) -> bool:
    folder = Path(f"/proc/{run.pid}/root{studio.state}/volume/snapshots")
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False


def volume_is_gone(studio: BucketStudio, run: AgentRun) -> bool:
    """Only its note is there, at the end of a run that had one."""
    ended = any(report.stop_steps and has_saved(report) for report in run.control_plane.reports)
    return ended and not studio.image.exists()


def has_saved(report: object) -> bool:
    steps = {step.name: step.state for step in report.stop_steps}  # type: ignore[attr-defined]
    return steps.get("save the files") == "succeeded"


def note_is_gone(studio: BucketStudio, run: AgentRun) -> bool:
    return volume_is_gone(studio, run) and not (studio.state / NAME).exists()


STEPS = (
    restoring,
    restored,
    noted,
    volume_is_made,
    snapshot_is_taken,
    volume_is_gone,
    note_is_gone,
)

LAST = (volume_is_gone, note_is_gone)
"""The run may have ended before somebody sees that."""


async def kill_at_steps(runs: KilledRuns, steps: Sequence[Callable[..., bool]]) -> None:
    for step in steps:
        ended = await runs.run(kill_when=step)
        assert not ended or step in LAST, step
    assert await runs.run()
    runs.studio.assert_left_in_order()


@pytest.mark.timeout(300)
async def test_killed_at_some_steps_that_ask_no_store_nothing_is_lost(runs: KilledRuns) -> None:
    await kill_at_steps(runs, random.Random().sample(STEPS, PLACES))


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_killed_at_any_step_that_asks_no_store_nothing_is_lost(runs: KilledRuns) -> None:
    await kill_at_steps(runs, [*STEPS, *reversed(STEPS)])
