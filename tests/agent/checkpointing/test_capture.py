"""One capture: its snapshot goes before anything else, and what costs too much is given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.capture import STALLED_SECONDS_MAX, WATCH_SECONDS, GivenUpError
from agent.checkpointing.saver import SaverDiedError
from agent.volume.volume import VolumeError
from common.clock import settle
from tests.support.captured_volume import AWAY, OWN, CapturedVolume

if TYPE_CHECKING:
    from asyncio import Task
    from pathlib import Path

    from agent.checkpointing.facts import Saved


@pytest.fixture
async def volume(tmp_path: Path) -> CapturedVolume:
    volume = CapturedVolume(tmp_path)
    await volume.saver.open(OWN, run_number=1, image="", parent=None)
    volume.touch("1")
    return volume


async def under_way(volume: CapturedVolume) -> Task[Saved]:
    """Begin one, which comes to nothing before its gate opens."""
    volume.saver.gates["write"] = asyncio.Event()
    taking = volume.tasks.spawn(volume.capture().take(None, final=False), name="take")
    await volume.until(lambda: volume.saver.waiting)
    await settle()
    return taking


async def test_it_commits_the_snapshot_drops_it_and_sweeps_when_told(
    volume: CapturedVolume,
) -> None:
    capture = volume.capture()
    saved = await capture.take(None, final=False)
    assert saved.generation == 1
    assert volume.saved() == ["1"]
    assert volume.snapshots.present == 0
    assert volume.saver.calls == ["open", "write"]
    assert volume.finder.commits == 1
    await capture.tidy_up()
    assert volume.saver.calls == ["open", "write", "sweep"]
    assert volume.snapshots.reclaims == 1
    await capture.tidy_up()
    assert volume.snapshots.reclaims == 1, "nothing was committed since"


async def test_the_saver_is_told_what_the_snapshot_is_a_copy_of(volume: CapturedVolume) -> None:
    await volume.capture().take(None, final=False)
    volume.snapshots.failure = VolumeError("It is read-only")
    await volume.capture().take(None, final=True)
    assert volume.saver.originals == [volume.upper, None]


async def test_what_is_written_meanwhile_is_not_in_it(volume: CapturedVolume) -> None:
    taking = await under_way(volume)
    volume.touch("2")
    volume.saver.gates["write"].set()
    await taking
    assert volume.saved() == ["1"]


async def test_changes_that_were_not_committed_are_in_the_next_one(volume: CapturedVolume) -> None:
    capture = volume.capture()
    saved = await capture.take(None, final=False)
    volume.touch("2")
    volume.saver.failures["write"].append(SaverDiedError("It was killed."))
    with pytest.raises(SaverDiedError):
        await capture.take(saved, final=False)
    assert volume.finder.commits == 1
    assert (await capture.take(saved, final=False)).generation == 2
    assert volume.saved() == ["1", "2"]


async def test_nothing_changed_is_what_was_saved_but_for_the_last_one(
    volume: CapturedVolume,
) -> None:
    capture = volume.capture()
    saved = await capture.take(None, final=False)
    assert await capture.take(saved, final=False) is saved
    last = await capture.take(saved, final=True)
    assert (last.generation, last.final) == (2, True)


async def test_one_that_stands_still_is_given_up(volume: CapturedVolume) -> None:
    taking = await under_way(volume)
    for _ in range(4):
        await volume.clock.advance(STALLED_SECONDS_MAX / 2)
        volume.saver.progress.set()
        await settle()
        assert not taking.done(), "it moves"
    await volume.clock.advance(STALLED_SECONDS_MAX + 2 * WATCH_SECONDS)
    with pytest.raises(GivenUpError, match="took nothing for five minutes"):
        await taking
    assert volume.snapshots.present == 0
    assert volume.saved() == []


async def test_one_in_the_way_of_a_volume_that_becomes_full_is_given_up(
    volume: CapturedVolume,
) -> None:
    taking = await under_way(volume)
    volume.is_full = True
    await volume.clock.advance(WATCH_SECONDS)
    with pytest.raises(GivenUpError, match="became full"):
        await taking
    assert volume.snapshots.present == 0


async def test_a_volume_that_was_full_before_is_saved_all_the_same(volume: CapturedVolume) -> None:
    volume.is_full = True
    taking = await under_way(volume)
    await volume.clock.advance(10 * WATCH_SECONDS)
    volume.saver.gates["write"].set()
    await taking
    assert volume.saved() == ["1"]


async def test_cancelled_it_returns_when_the_snapshot_is_gone(volume: CapturedVolume) -> None:
    taking = await under_way(volume)
    taking.cancel()
    await asyncio.wait({taking})
    assert taking.cancelled()
    assert volume.snapshots.present == 0
    assert volume.saver.waiting == []


async def test_what_is_not_swept_is_no_failure(volume: CapturedVolume) -> None:
    volume.saver.failures["sweep"].append(AWAY)
    capture = volume.capture()
    assert (await capture.take(None, final=False)).generation == 1
    await capture.tidy_up()
    assert volume.saver.calls[-1] == "sweep"


async def test_the_last_one_does_without_a_snapshot_if_there_is_none(
    volume: CapturedVolume,
) -> None:
    volume.snapshots.failure = VolumeError("It is read-only")
    with pytest.raises(VolumeError):
        await volume.capture().take(None, final=False)
    last = await volume.capture().take(None, final=True)
    assert last.final
    assert volume.saved() == ["1"]
