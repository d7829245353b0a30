"""A volume is saved again and again: when, what the status says, and who waits."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.captures import HISTORY_MAX, NotSavedError
from agent.checkpointing.saver import (
    SaverDiedError,
)
from agent.checkpointing.schedule import RETRY_SECONDS_MIN
from common.clock import settle
from common.messages import CheckpointPhase
from tests.support.captured_volume import (
    AWAY,
    INTERVAL_SECONDS,
    OWN,
    SUPERSEDED,
    CapturedVolume,
    caught,
)

if TYPE_CHECKING:
    from pathlib import Path

    from agent.checkpointing.saver import SaverError


@pytest.fixture
def volume(tmp_path: Path) -> CapturedVolume:
    return CapturedVolume(tmp_path)


# ── When ─────────────────────────────────────────────────────────────────────


async def test_files_are_saved_at_the_pace_of_the_interval(volume: CapturedVolume) -> None:
    async with volume.running():
        assert volume.status().phase is CheckpointPhase.EMPTY
        for number in range(1, 4):
            volume.touch(str(number))
            await volume.clock.advance(INTERVAL_SECONDS - 1)
            assert len(volume.saved()) == number - 1
            await volume.clock.advance(1)
            assert volume.saved()[-1] == str(number)
            assert volume.status().generation == number
            assert volume.status().phase is CheckpointPhase.INTERIM
            assert volume.status().committed_at == volume.clock.now()


async def test_what_failed_is_tried_again_sooner_and_told(volume: CapturedVolume) -> None:
    volume.saver.failures["write"].extend([AWAY, SaverDiedError("It was killed.")])
    async with volume.running():
        await volume.clock.advance(INTERVAL_SECONDS)
        assert volume.status().message == "The files could not be saved: " + str(AWAY)
        assert (volume.status().failures, volume.status().committed_at) == (1, None)
        await volume.clock.advance(RETRY_SECONDS_MIN)
        assert "It was killed." in volume.status().message
        await volume.clock.advance(2 * RETRY_SECONDS_MIN - 1)
        assert volume.saved() == []
        await volume.clock.advance(1)
        assert len(volume.saved()) == 1
        assert (volume.status().message, volume.status().failures) == ("", 2)


async def test_a_store_that_is_away_makes_the_age_grow_and_says_why(volume: CapturedVolume) -> None:
    async with volume.running():
        await volume.clock.advance(INTERVAL_SECONDS)
        safe_at = volume.status().committed_at
        volume.saver.failures["write"].extend([AWAY] * 100)
        volume.touch("later")
        await volume.clock.advance(4 * INTERVAL_SECONDS)
        assert volume.status().committed_at == safe_at
        assert str(AWAY) in volume.status().message
        volume.saver.failures["write"].clear()
        await volume.clock.advance(INTERVAL_SECONDS)
        assert volume.saved()[-1] == "later"
        assert volume.status().message == ""


async def test_unchanged_files_are_as_safe_as_saved_ones_and_cost_nothing(
    volume: CapturedVolume,
) -> None:
    async with volume.running():
        await volume.clock.advance(INTERVAL_SECONDS)
        before = volume.status()
        await volume.clock.advance(INTERVAL_SECONDS)
        after = volume.status()
        assert before.committed_at is not None
        assert after.committed_at == before.committed_at + timedelta(seconds=INTERVAL_SECONDS)
        assert (after.generation, after.stored_bytes) == (1, before.stored_bytes)
        assert len(volume.captures.commits()) == 1
        assert volume.saver.rests == 0
        await volume.clock.advance(INTERVAL_SECONDS)
        assert volume.saver.rests == 1, "its process is ended"
        volume.touch("again")
        await volume.clock.advance(INTERVAL_SECONDS)
        assert volume.saved()[-1] == "again"


async def test_a_run_that_goes_on_is_as_safe_as_its_first_generation(
    volume: CapturedVolume,
) -> None:
    await volume.saver.open(OWN, run_number=1, image="", parent=None)
    first = await volume.saver.write(volume.upper, changes=None)
    async with volume.running(first=first):
        assert volume.status().committed_at == volume.clock.now()
        assert volume.status().phase is CheckpointPhase.EMPTY, "of its own it has saved nothing"
        assert volume.status().generation == 1


# ── Wishes ───────────────────────────────────────────────────────────────────


async def test_a_wish_is_answered_by_a_capture_that_began_after_it(volume: CapturedVolume) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        first, second = volume.clock.now(), volume.clock.now() + timedelta(seconds=1)
        volume.touch("1")
        captures.save_now(first)
        await volume.until(lambda: volume.saver.waiting)
        volume.touch("2")
        captures.save_now(second)
        gate.set()
        await volume.until(lambda: volume.status().answered_request_at == first)
        assert volume.saved() == ["1"]
        await volume.until(lambda: volume.status().answered_request_at == second)
        assert volume.saved() == ["1", "2"]


async def test_a_wish_that_met_a_failure_is_answered_by_the_next_success(
    volume: CapturedVolume,
) -> None:
    volume.saver.failures["write"].append(AWAY)
    async with volume.running() as captures:
        wished_at = volume.clock.now()
        captures.save_now(wished_at)
        await volume.until(lambda: volume.status().failures)
        assert volume.status().answered_request_at is None
        await settle()
        await volume.clock.advance(RETRY_SECONDS_MIN)
        assert volume.status().answered_request_at == wished_at


async def test_files_are_as_old_as_the_beginning_of_their_capture(volume: CapturedVolume) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        began_at = volume.clock.now()
        captures.save_now()
        await volume.until(lambda: volume.saver.waiting)
        await volume.clock.advance(10)
        gate.set()
        await volume.until(lambda: volume.status().generation == 1)
        assert volume.status().committed_at == began_at


async def test_an_unchanged_volume_answers_a_wish_too(volume: CapturedVolume) -> None:
    async with volume.running() as captures:
        await captures.save()
        wished_at = volume.clock.now()
        captures.save_now(wished_at)
        await volume.until(lambda: volume.status().answered_request_at == wished_at)


async def test_whoever_saves_waits_for_a_capture_of_their_own(volume: CapturedVolume) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        volume.touch("1")
        first = volume.tasks.spawn(captures.save(), name="first")
        await volume.until(lambda: volume.saver.waiting)
        volume.touch("2")
        second = volume.tasks.spawn(captures.save(), name="second")
        await settle()
        gate.set()
        await first
        await second
        assert volume.saved() == ["1", "2"]


@pytest.mark.parametrize("error", [AWAY, SUPERSEDED])
async def test_whoever_saves_is_told_what_went_wrong(
    volume: CapturedVolume, error: SaverError
) -> None:
    volume.saver.failures["write"].append(error)
    async with volume.running() as captures:
        with pytest.raises(NotSavedError, match=str(error)):
            await captures.save()


async def test_one_who_went_away_bothers_nobody(volume: CapturedVolume) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        gone = volume.tasks.spawn(captures.save(), name="gone")
        stays = volume.tasks.spawn(captures.save(), name="stays")
        await volume.until(lambda: volume.saver.waiting)
        gone.cancel()
        await settle()
        gate.set()
        await stays
        assert gone.cancelled()


# ── Superseded ───────────────────────────────────────────────────────────────


async def test_a_superseded_run_saves_nothing_any_more(volume: CapturedVolume) -> None:
    async with volume.captured() as captures:
        run = volume.tasks.spawn(caught(captures.run()), name="run")
        captures.save_now()
        await volume.until(lambda: volume.saved())
        volume.touch("later")
        volume.saver.failures["write"].append(SUPERSEDED)
        waiting = volume.tasks.spawn(caught(captures.save()), name="waiting")
        assert await run is SUPERSEDED
        assert str(await waiting) == str(SUPERSEDED)
        with pytest.raises(NotSavedError, match="taken over"):
            await captures.save()
        assert len(volume.saved()) == 1
        assert volume.snapshots.present == 0


# ── Told ─────────────────────────────────────────────────────────────────────


async def test_a_commit_is_told_before_anything_is_swept(volume: CapturedVolume) -> None:
    volume.saver.gates["sweep"] = asyncio.Event()
    async with volume.running() as captures:
        await captures.save()
        await volume.until(lambda: volume.saver.waiting)
        assert captures.status().generation == 1
        assert not captures.status().in_progress
        volume.touch("2")
        again = volume.tasks.spawn(captures.save(), name="again")
        await settle()
        assert not again.done(), "one thing at a time uses the volume"
        volume.saver.gates["sweep"].set()
        await again
        assert volume.saver.calls[:4] == ["open", "write", "sweep", "write"]


async def test_what_no_path_leads_to_is_told_for_as_long_as_it_is_there(
    volume: CapturedVolume,
) -> None:
    async with volume.running() as captures:
        volume.saver.too_long = 2
        await captures.save()
        [warning] = captures.warnings()
        assert warning.startswith("2 files or folders with a path of more than 4,095 bytes")
        volume.saver.too_long = 0
        volume.touch("moved")
        await captures.save()
        assert captures.warnings() == ()


async def test_commits_are_remembered_and_not_for_ever(volume: CapturedVolume) -> None:
    async with volume.running() as captures:
        for number in range(HISTORY_MAX + 5):
            volume.touch(str(number))
            await captures.save()
        generations = [commit.saved.generation for commit in captures.commits()]
        assert generations == list(range(6, HISTORY_MAX + 6))
