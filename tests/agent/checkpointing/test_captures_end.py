"""A volume is saved a last time: until that is done, or nothing mends it, or somebody closes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.checkpointing.captures import ENDED, NotSavedError
from agent.checkpointing.saver import (
    ParentGoneError,
    SaverDiedError,
    SaveRefusedError,
)
from common.clock import settle
from common.messages import CheckpointPhase
from tests.support.captured_volume import (
    AWAY,
    INTERVAL_SECONDS,
    OWN,
    REFUSED,
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


async def test_the_last_capture_waits_for_one_under_way_and_saves_all(
    volume: CapturedVolume,
) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        volume.touch("1")
        captures.save_now()
        await volume.until(lambda: volume.saver.waiting)
        volume.touch("2")
        last = volume.tasks.spawn(captures.save_last(), name="last")
        await settle()
        assert volume.snapshots.taken_count == 1
        gate.set()
        await last
        assert volume.saved() == ["1", "2"]
        assert captures.is_final
        assert volume.status().phase is CheckpointPhase.FINALIZED
        await captures.save_last()  # does nothing more


@pytest.mark.parametrize("error", [AWAY, REFUSED, SaverDiedError("It was killed.")])
async def test_the_last_capture_is_tried_until_the_store_takes_it(
    volume: CapturedVolume, error: SaverError
) -> None:
    volume.saver.failures["write"].extend([error] * 100)
    async with volume.running() as captures:
        volume.touch("last")
        last = volume.tasks.spawn(captures.save_last(), name="last")
        await settle()
        for _ in range(6):
            assert str(error) in volume.status().message
            assert not last.done()
            await volume.clock.advance(INTERVAL_SECONDS)
        volume.saver.failures["write"].clear()
        await volume.clock.advance(INTERVAL_SECONDS)
        await last
        assert volume.saved() == ["last"]
        assert volume.status().message == ""


@pytest.mark.parametrize(
    "error", [SUPERSEDED, SaveRefusedError("A redirect."), ParentGoneError("-")]
)
async def test_what_waiting_does_not_mend_ends_the_last_capture(
    volume: CapturedVolume, error: SaverError
) -> None:
    volume.saver.failures["write"].append(error)
    async with volume.running() as captures:
        with pytest.raises(type(error)):
            await captures.save_last()
        assert not captures.is_final
        assert volume.snapshots.present == 0


async def test_a_last_capture_that_is_cancelled_leaves_what_was_saved_before(
    volume: CapturedVolume,
) -> None:
    async with volume.running() as captures:
        volume.touch("1")
        await captures.save()
        volume.saver.gates["write"] = asyncio.Event()
        last = volume.tasks.spawn(captures.save_last(), name="last")
        await volume.until(lambda: volume.saver.waiting)
        last.cancel()
        await asyncio.wait({last})
        assert volume.snapshots.present == 0
        assert not captures.is_final
        assert volume.saved() == ["1"]


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_a_last_generation_whose_saver_was_killed_before_it_said_so_is_found(
    volume: CapturedVolume, *, is_sealed: bool
) -> None:
    volume.saver.lost["write"].append(SaverDiedError("It was killed."))
    async with volume.running() as captures:
        volume.touch("last")
        last = volume.tasks.spawn(captures.save_last(), name="last")
        await settle()
        if is_sealed:  # whoever goes on already, goes on from that
            await volume.saver.seal(OWN, 2)
        await volume.clock.advance(INTERVAL_SECONDS)
        await last
        assert captures.is_final
        assert volume.saved() == ["last"]


async def test_nobody_can_have_files_saved_once_the_end_has_begun(volume: CapturedVolume) -> None:
    gate = volume.saver.gates["write"] = asyncio.Event()
    async with volume.running() as captures:
        captures.save_now()
        await volume.until(lambda: volume.saver.waiting)
        waiting = volume.tasks.spawn(caught(captures.save()), name="waiting")
        await settle()
        last = volume.tasks.spawn(captures.save_last(), name="last")
        assert str(await waiting) == ENDED
        with pytest.raises(NotSavedError):
            await captures.save()
        gate.set()
        await last


@pytest.mark.parametrize("call", ["write", "sweep"])
async def test_closing_ends_a_capture_wherever_it_is(volume: CapturedVolume, call: str) -> None:
    volume.saver.gates[call] = asyncio.Event()
    async with volume.running() as captures:
        waiting = volume.tasks.spawn(caught(captures.save()), name="waiting")
        await volume.until(lambda: volume.saver.waiting)
        await captures.close()
        assert volume.snapshots.present == 0
        assert volume.saver.waiting == []
        assert isinstance(await waiting, NotSavedError) == (call == "write")
        calls = list(volume.saver.calls)
        await volume.clock.advance(10 * INTERVAL_SECONDS)
        assert volume.saver.calls == calls
        await captures.close()
