"""A snapshot lasts as long as somebody needs it, and then its space comes back."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import LoopVolume
from agent.volume.memory import MemoryVolume
from agent.volume.snapshots import Snapshots
from agent.volume.volume import VolumeError
from common.clock import SystemClock
from common.tasks import TaskBag

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.volume.volume import Volume
    from common.session_spec import VolumeLimits

MB = 1024**2


class SlowVolume(MemoryVolume):
    """One whose disk may stand still, and whose snapshots may refuse to go."""

    def __init__(self, folder: Path, limits: VolumeLimits) -> None:
        super().__init__(folder, limits)
        self.moves = asyncio.Event()
        self.moves.set()
        self.begun = 0
        self.refusals = 0

    async def snapshot(self, name: str) -> Path:
        self.begun += 1
        await asyncio.shield(self.moves.wait())
        return await super().snapshot(name)

    async def drop_snapshot(self, name: str) -> None:
        if self.refusals:
            self.refusals -= 1
            raise VolumeError("it stays")
        await super().drop_snapshot(name)


@pytest.fixture
async def tasks() -> AsyncIterator[TaskBag]:
    bag = TaskBag("test")
    yield bag
    await bag.close()


@pytest.fixture(params=["btrfs", "memory"])
async def volume(
    request: pytest.FixtureRequest, folder: Path, limits: VolumeLimits
) -> AsyncIterator[Volume]:
    made: Volume = MemoryVolume(folder, limits)
    if request.param == "btrfs":
        made = LoopVolume(folder, limits, clock=SystemClock())
    await made.create()
    await made.attach()
    yield made
    await made.detach()


@pytest.fixture
async def slow(folder: Path, limits: VolumeLimits) -> SlowVolume:
    made = SlowVolume(folder, limits)
    await made.create()
    await made.attach()
    return made


def snapshots_of(volume: Volume, tasks: TaskBag) -> Snapshots:
    return Snapshots(volume, tasks=tasks, clock=SystemClock(), rng=random.Random(1))


async def names(volume: Volume) -> list[str]:
    mount = await volume.attach()
    return [
        path.name for path in await asyncio.to_thread(lambda: [*(mount / "snapshots").iterdir()])
    ]


async def test_a_snapshot_is_gone_after_the_block_that_needs_it(
    volume: Volume, tasks: TaskBag
) -> None:
    file = await volume.attach() / "active/upper/file"
    file.write_text("before")
    async with snapshots_of(volume, tasks).taken() as path:
        file.write_text("after")
        assert (path / "upper/file").read_text() == "before"
        assert await names(volume) == [path.name]
    assert await names(volume) == []


async def test_a_snapshot_is_gone_after_a_failure(volume: Volume, tasks: TaskBag) -> None:
    with pytest.raises(ZeroDivisionError):
        async with snapshots_of(volume, tasks).taken():
            raise ZeroDivisionError
    assert await names(volume) == []


async def test_a_snapshot_is_gone_when_who_needs_it_is_cancelled(
    volume: Volume, tasks: TaskBag
) -> None:
    async def hold() -> None:
        async with snapshots_of(volume, tasks).taken():
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        holder = group.create_task(hold())
        await held.wait()
        assert len(await names(volume)) == 1
        holder.cancel()
    assert await names(volume) == []


async def test_a_snapshot_is_gone_when_its_owner_ends(volume: Volume, tasks: TaskBag) -> None:
    async def hold() -> None:
        async with snapshots_of(volume, tasks).taken():
            held.set()
            await asyncio.Event().wait()

    held = asyncio.Event()
    tasks.spawn(hold(), name="hold")
    await held.wait()
    await tasks.close()
    assert await names(volume) == []


async def test_snapshots_are_one_at_a_time(volume: Volume, tasks: TaskBag) -> None:
    snapshots = snapshots_of(volume, tasks)
    at_once = []

    async def take() -> None:
        async with snapshots.taken():
            at_once.append(len(await names(volume)))

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(take())
    assert at_once == [1, 1, 1, 1]


async def test_a_snapshot_that_can_not_be_taken_says_why(slow: SlowVolume, tasks: TaskBag) -> None:
    await slow.detach()
    with pytest.raises(VolumeError, match="not attached"):
        async with snapshots_of(slow, tasks).taken():
            raise AssertionError
    await slow.attach()
    async with snapshots_of(slow, tasks).taken() as path:
        assert path.exists()


async def _take_within(snapshots: Snapshots, *, seconds: float) -> None:
    async with asyncio.timeout(seconds), snapshots.taken():
        raise AssertionError


async def test_who_gives_up_on_a_slow_disk_does_so_at_once(
    slow: SlowVolume, tasks: TaskBag
) -> None:
    snapshots = snapshots_of(slow, tasks)
    slow.moves.clear()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            await _take_within(snapshots, seconds=0.01)
    assert slow.begun == 1, "no thread more waits for the disk"
    slow.moves.set()
    async with snapshots.taken() as path:
        assert await names(slow) == [path.name]
    assert await names(slow) == []
    assert slow.begun == 2


async def test_a_snapshot_that_stays_is_dropped_before_the_next(
    slow: SlowVolume, tasks: TaskBag
) -> None:
    snapshots = snapshots_of(slow, tasks)
    slow.refusals = 1
    async with snapshots.taken() as path:
        pass
    assert await names(slow) == [path.name]
    async with snapshots.taken() as other:
        assert await names(slow) == [other.name]
    assert await names(slow) == []


@pytest.mark.parametrize("is_idle", [False, True])
@pytest.mark.parametrize("volume", ["btrfs"], indirect=True)
async def test_what_was_deleted_under_a_snapshot_is_free_once_it_is_reclaimed(
    volume: Volume, tasks: TaskBag, is_idle: bool
) -> None:
    """By itself it takes the kernel half a minute, and longer."""
    mount = await volume.attach()
    file = mount / "active/upper/file"
    await asyncio.to_thread(file.write_bytes, b"x" * 128 * MB)
    snapshots = snapshots_of(volume, tasks)
    async with snapshots.taken():
        used = await volume.true_free()
        file.unlink()
        await snapshots.reclaim(mount)
        assert await volume.true_free() < used + 64 * MB, "a snapshot keeps what is deleted"
    if is_idle:
        await asyncio.to_thread(os.sync)  # nothing is left to commit, which wakes nobody
    async with asyncio.timeout(5):
        await snapshots.reclaim(mount)
        while await volume.true_free() < used + 120 * MB:
            await asyncio.sleep(0.01)
