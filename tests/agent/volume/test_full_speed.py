"""Programs that write as fast as the machine can, and what else goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from agent.volume.monitor import VolumeMonitor
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.volume.btrfs import BtrfsVolume
    from tests.agent.volume.kernel import MakeVolume

MB = 1024**2
SCALED = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=2048 * MB
)


@pytest.fixture
async def volume(make_volume: MakeVolume) -> AsyncIterator[BtrfsVolume]:
    volume = make_volume(SCALED)
    await volume.create()
    await volume.attach()
    yield volume
    await volume.detach()


async def finish(*command: str | Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, errors.decode()


async def watched(monitor: VolumeMonitor, *commands: tuple[str | Path, ...]) -> list[str]:
    """Run programs at the same time under the monitor's eyes; return what they complained of."""
    async with asyncio.TaskGroup() as group:
        watch = group.create_task(monitor.run())
        programs = [group.create_task(finish(*command)) for command in commands]
        await asyncio.wait(programs)
        watch.cancel()
    return [program.result()[1] for program in programs]


async def test_a_writer_at_full_speed_gets_enospc_at_the_limit_and_not_before(
    volume: BtrfsVolume,
) -> None:
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    file = volume.mount_point / "active/upper/file"
    [complaint] = await watched(monitor, ("dd", "if=/dev/zero", f"of={file}", "bs=1M"))
    assert "No space left" in complaint
    assert (await volume.measure()).size_bytes == SCALED.limit_bytes
    # The rest is room for metadata, which such small volumes take in large pieces.
    assert file.stat().st_size > 0.85 * SCALED.limit_bytes
    await monitor.step()
    status = monitor.status()
    assert status is not None
    assert status.full
    assert monitor.growth_failures == 0


async def test_what_was_asked_for_below_the_limit_is_written_whole(volume: BtrfsVolume) -> None:
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    upper = volume.mount_point / "active/upper"
    writers = [
        ("dd", "if=/dev/urandom", f"of={upper / str(number)}", "bs=1M", "count=600", "conv=fsync")
        for number in range(2)
    ]
    complaints = await watched(monitor, *writers)
    assert not any("No space" in complaint for complaint in complaints), complaints
    assert [(upper / str(number)).stat().st_size for number in range(2)] == [600 * MB] * 2
    assert monitor.growths > 0


async def test_many_small_files_make_it_grow_too(volume: BtrfsVolume) -> None:
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    upper = volume.mount_point / "active/upper"
    script = (
        "import os, sys\n"
        "for n in range(60000):\n"
        "    if n % 1000 == 0: os.mkdir(f'{sys.argv[1]}/{n // 1000}')\n"
        "    fd = os.open(f'{sys.argv[1]}/{n // 1000}/{n}' + 'x' * 200, os.O_CREAT | os.O_WRONLY)\n"
        "    os.write(fd, b'x' * 1800)\n"
        "    os.close(fd)\n"
    )
    [complaint] = await watched(monitor, ("python3", "-c", script, upper))
    assert complaint == ""


async def test_at_the_limit_files_can_be_deleted_and_others_written(volume: BtrfsVolume) -> None:
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    upper = volume.mount_point / "active/upper"
    await watched(monitor, ("dd", "if=/dev/zero", f"of={upper / 'file'}", "bs=1M"))
    await monitor.step()
    (upper / "file").unlink()
    run("sync", "--file-system", upper)
    (upper / "folder").mkdir()
    (upper / "folder/other").write_bytes(os.urandom(64 * MB))
    run("sync", "--file-system", upper)
    await monitor.step()
    status = monitor.status()
    assert status is not None
    assert not status.full


async def test_growing_does_not_wait_for_a_snapshot(volume: BtrfsVolume) -> None:
    upper = volume.mount_point / "active/upper"
    (upper / "file").write_bytes(os.urandom(150 * MB))
    async with asyncio.TaskGroup() as group:
        snapshot = group.create_task(volume.snapshot("one"))
        size_bytes = await volume.grow(1)
        assert size_bytes == SCALED.initial_bytes + SCALED.step_bytes
    copy = snapshot.result()
    assert (copy / "upper/file").stat().st_size == 150 * MB
    with pytest.raises(OSError, match="Read-only"):
        (copy / "upper/file").write_bytes(b"")


async def test_the_event_loop_turns_while_the_kernel_is_busy_growing(volume: BtrfsVolume) -> None:
    """A frozen file system makes the growth wait inside the kernel for as long as we like."""
    mount = volume.mount_point
    freezer = await asyncio.create_subprocess_exec(
        # Thaws by itself: were the event loop to stand still, nobody else would.
        *("sh", "-c", 'fsfreeze -f "$0"; echo frozen; sleep 1; fsfreeze -u "$0"', mount),
        stdout=asyncio.subprocess.PIPE,
    )
    assert freezer.stdout is not None
    await freezer.stdout.readline()
    turns = 0
    async with asyncio.TaskGroup() as group:
        growth = group.create_task(volume.grow(1))
        while not growth.done():
            await asyncio.sleep(0.01)
            turns += 1
    await freezer.wait()
    assert turns >= 20
    assert growth.result() == SCALED.initial_bytes + SCALED.step_bytes


async def test_a_cancelled_growth_is_finished_or_not_begun(volume: BtrfsVolume) -> None:
    growth = asyncio.get_running_loop().create_task(volume.grow(1))
    await asyncio.sleep(0)
    growth.cancel()
    with pytest.raises(asyncio.CancelledError):
        await growth
    size_bytes = (await volume.measure()).size_bytes
    assert size_bytes in {SCALED.initial_bytes, SCALED.initial_bytes + SCALED.step_bytes}
    assert await volume.grow(1) == size_bytes + SCALED.step_bytes
