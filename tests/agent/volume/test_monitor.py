"""The loop around the policy, with a fake volume and a clock that is stepped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from agent.volume.memory import MemoryVolume
from agent.volume.monitor import VolumeMonitor
from agent.volume.policy import PAUSE_SECONDS_FULL, PAUSE_SECONDS_MAX, PAUSE_SECONDS_MIN
from agent.volume.volume import FileSystemStoppedError
from common.clock import SteppingClock, settle
from common.messages import VolumeStatus
from common.session_spec import VolumeLimits

if TYPE_CHECKING:
    from pathlib import Path

GB = 1024**3


class Rig:
    """An attached volume of 2 GB under watch."""

    def __init__(self, folder: Path) -> None:
        self.limits = VolumeLimits(limit_bytes=5 * GB)
        self.volume = MemoryVolume(folder, self.limits)
        self.clock = SteppingClock()
        self.changes = 0
        self.monitor = VolumeMonitor(
            self.volume, self.limits, clock=self.clock, on_change=self.changed
        )

    def changed(self) -> None:
        self.changes += 1

    def status(self) -> VolumeStatus:
        status = self.monitor.status()
        assert status is not None
        return status


@pytest.fixture
async def rig(tmp_path: Path) -> Rig:
    rig = Rig(tmp_path)
    await rig.volume.create()
    await rig.volume.attach()
    return rig


async def test_nothing_is_made_up_before_the_first_look(rig: Rig) -> None:
    assert rig.monitor.status() is None


async def test_the_status_says_what_was_measured(rig: Rig) -> None:
    rig.volume.written_bytes = GB // 2
    await rig.monitor.step()
    assert rig.status() == VolumeStatus(
        size_bytes=2 * GB, free_bytes=3 * GB // 2, limit_bytes=5 * GB
    )
    assert rig.changes == 1


async def test_a_volume_that_fills_up_grows_step_by_step_to_its_limit(rig: Rig) -> None:
    sizes = []
    for written in (1.5, 3.5, 4.5):
        rig.volume.written_bytes = int(written * GB)
        assert await rig.monitor.step() in {0.0, PAUSE_SECONDS_FULL}
        await rig.monitor.step()
        sizes.append(rig.status().size_bytes // GB)
    assert sizes == [4, 5, 5]
    assert rig.volume.grow_calls == [1, 1]
    assert rig.status().full
    assert "limit of 5 GB" in rig.status().message


async def test_the_loop_grows_by_itself_and_rests(rig: Rig) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(rig.monitor.run())
        await settle()
        rig.volume.written_bytes = 3 * GB // 2
        await rig.clock.advance(PAUSE_SECONDS_MAX)
        assert rig.status().size_bytes == 4 * GB
        assert rig.clock.sleeping == 1
        task.cancel()


async def test_at_the_limit_the_loop_is_quiet(rig: Rig) -> None:
    rig.volume.written_bytes = 5 * GB
    await rig.volume.grow(2)
    rig.volume.grow_calls.clear()
    pauses = [await rig.monitor.step() for _ in range(20)]
    assert pauses == [PAUSE_SECONDS_FULL] * 20
    assert rig.volume.grow_calls == []
    assert rig.changes == 1, "told once"


async def test_full_ends_when_files_are_deleted(rig: Rig) -> None:
    await rig.volume.grow(2)
    rig.volume.written_bytes = 5 * GB
    await rig.monitor.step()
    assert rig.status().full
    rig.volume.written_bytes, rig.volume.deleted_bytes = GB, 4 * GB
    await rig.monitor.step()
    assert rig.status().full, "what was deleted has not come free yet"
    await rig.monitor.step()
    assert not rig.status().full
    assert rig.status().message == ""
    assert rig.changes == 2


async def test_a_failed_growth_is_told_backed_off_and_not_counted(rig: Rig) -> None:
    rig.volume.written_bytes = 3 * GB // 2
    rig.volume.host_free_bytes = 0
    for _ in range(100):
        seconds = await rig.monitor.step()
        assert seconds >= PAUSE_SECONDS_MIN
        await rig.clock.advance(seconds)
    assert set(rig.volume.grow_calls) == {1}
    assert 3 <= len(rig.volume.grow_calls) <= 12, "no hot loop"
    assert rig.status().size_bytes == 2 * GB
    assert "host's disk is full" in rig.status().message
    assert not rig.status().full
    rig.volume.host_free_bytes = 100 * GB
    await rig.clock.advance(60)
    await rig.monitor.step()
    await rig.monitor.step()
    assert rig.status().size_bytes == 4 * GB, "one step, not one for each failure"
    assert rig.status().message == ""
    assert (rig.monitor.growths, rig.monitor.growth_failures > 2) == (1, True)


async def test_a_growth_without_effect_counts_as_failed(rig: Rig) -> None:
    class Stuck(MemoryVolume):
        async def grow(self, steps: int) -> int:
            self.grow_calls.append(steps)
            return (await self.measure()).size_bytes

    stuck = Stuck(rig.volume.mount_point / "stuck", rig.limits)
    await stuck.create()
    await stuck.attach()
    stuck.written_bytes = 2 * GB
    monitor = VolumeMonitor(stuck, rig.limits, clock=rig.clock)
    for _ in range(10):
        await monitor.step()
    assert stuck.grow_calls == [1], "the clock stands: no second try before its time"
    status = monitor.status()
    assert status is not None
    assert "no effect" in status.message


async def test_a_stopped_file_system_is_told_and_the_loop_goes_on(rig: Rig) -> None:
    await rig.monitor.step()
    rig.volume.failures = [FileSystemStoppedError("the file system was stopped")] * 2
    assert await rig.monitor.step() == PAUSE_SECONDS_MAX
    await rig.monitor.step()
    assert rig.status().message == "the file system was stopped"
    assert rig.changes == 2
    await rig.monitor.step()
    assert rig.status().message == ""


async def test_a_file_system_that_was_stopped_before_the_first_look_is_told(rig: Rig) -> None:
    rig.volume.failures = [FileSystemStoppedError("the file system was stopped")]
    await rig.monitor.step()
    assert rig.status().message == "the file system was stopped"
    assert rig.changes == 1


async def test_a_bug_in_the_volume_ends_the_loop(rig: Rig) -> None:
    class Broken(MemoryVolume):
        async def grow(self, steps: int) -> int:
            raise ZeroDivisionError

    broken = Broken(rig.volume.mount_point / "broken", rig.limits)
    await broken.create()
    await broken.attach()
    broken.written_bytes = 2 * GB
    with pytest.raises(ZeroDivisionError):
        await VolumeMonitor(broken, rig.limits, clock=rig.clock).run()


async def test_a_host_that_can_not_keep_the_promise_is_told(rig: Rig) -> None:
    rig.volume.host_free_bytes = -GB
    await rig.monitor.step()
    assert "host's disk is nearly full" in rig.status().message
