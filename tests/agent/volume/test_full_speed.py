"""Programs that write as fast as the machine can, and what else goes on meanwhile."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from agent.volume import syscalls
from agent.volume.btrfs_calls import Tree
from agent.volume.monitor import VolumeMonitor
from agent.volume.volume import NotAttachedError
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.volume.loop_volume import LoopVolume
    from agent.volume.volume import Space
    from tests.agent.volume.kernel import MakeVolume

MB = 1024**2
SCALED = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=2048 * MB
)


@pytest.fixture
async def volume(make_volume: MakeVolume) -> AsyncIterator[LoopVolume]:
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
    volume: LoopVolume,
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


async def test_what_was_asked_for_below_the_limit_is_written_whole(volume: LoopVolume) -> None:
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


async def test_many_small_files_make_it_grow_too(volume: LoopVolume) -> None:
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


async def test_at_the_limit_files_can_be_deleted_and_others_written(volume: LoopVolume) -> None:
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


async def test_what_is_written_is_never_shown_as_free(volume: LoopVolume) -> None:
    """Not while it is in the cache, nor while it is on its way, nor when it has arrived."""
    await volume.grow(4)
    file = volume.mount_point / "active/upper/file"
    file.touch()
    free_bytes = await volume.true_free()
    writer = asyncio.get_running_loop().create_task(
        finish("dd", "if=/dev/zero", f"of={file}", "bs=1M", "count=1000", "conv=fsync")
    )
    while not writer.done():
        written_bytes = os.stat(file).st_size
        assert await volume.true_free() <= free_bytes - written_bytes + 8 * MB
    assert file.stat().st_size == 1000 * MB


async def test_metadata_has_its_room_before_anybody_writes(volume: LoopVolume) -> None:
    pieces = run("btrfs", "filesystem", "df", "--raw", volume.mount_point)
    found = re.search(r"Metadata, single: total=(\d+)", pieces)
    assert found is not None
    assert int(found[1]) >= SCALED.initial_bytes // 16


async def test_growing_does_not_wait_for_a_snapshot(
    volume: LoopVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    upper = volume.mount_point / "active/upper"
    (upper / "file").write_bytes(b"before")
    begun, go_on = threading.Event(), threading.Event()

    def slow_disk(fd: int) -> None:
        begun.set()
        assert go_on.wait(10)

    with monkeypatch.context() as slow:
        slow.setattr(syscalls, "syncfs", slow_disk)
        snapshot = asyncio.get_running_loop().create_task(volume.snapshot("one"))
        await asyncio.to_thread(begun.wait, 10)
        async with asyncio.timeout(5):
            assert await volume.grow(1) == SCALED.initial_bytes + SCALED.step_bytes
        go_on.set()
        copy = await snapshot
    with pytest.raises(OSError, match="Read-only"):
        (copy / "upper/file").write_bytes(b"")


async def test_what_lies_below_an_unmounted_volume_is_not_taken_for_it(
    volume: LoopVolume, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A measurement that began before the unmounting ends with numbers of the host's disk."""
    begun, go_on = threading.Event(), threading.Event()
    measure = Tree.measure

    def slow(tree: Tree, *, host_free_bytes: int) -> Space:
        begun.set()
        assert go_on.wait(10)
        return replace(measure(tree, host_free_bytes=host_free_bytes), size_bytes=1)

    with monkeypatch.context() as late:
        late.setattr(Tree, "measure", slow)
        measuring = asyncio.get_running_loop().create_task(volume.measure())
        await asyncio.to_thread(begun.wait, 10)
        detaching = asyncio.get_running_loop().create_task(volume.detach())
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(NotAttachedError):
            await measuring
        await detaching


async def test_the_event_loop_turns_while_the_kernel_is_busy_growing(volume: LoopVolume) -> None:
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


async def test_a_cancelled_growth_is_finished_or_not_begun(volume: LoopVolume) -> None:
    growth = asyncio.get_running_loop().create_task(volume.grow(1))
    await asyncio.sleep(0)
    growth.cancel()
    with pytest.raises(asyncio.CancelledError):
        await growth
    size_bytes = (await volume.measure()).size_bytes
    assert size_bytes in {SCALED.initial_bytes, SCALED.initial_bytes + SCALED.step_bytes}
    assert await volume.grow(1) == size_bytes + SCALED.step_bytes
