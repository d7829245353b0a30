"""Images cut off or overwritten, and a host's disk that is full: said clearly, nothing worse."""

from __future__ import annotations

import contextlib
import hashlib
import os
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import IMAGE_NAME, LoopVolume
from agent.volume.monitor import VolumeMonitor
from agent.volume.volume import (
    BackingDiskFullError,
    FileSystemStoppedError,
    ImageCorruptError,
    ImageTruncatedError,
    StillInUseError,
    VolumeError,
)
from common.clock import SteppingClock, SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import let_go, loop_devices, mounts, run
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.agent.volume.kernel import MakeVolume

MB = 1024**2
SUPERBLOCKS = (64 * 1024, 64 * MB)  # the second is a copy, there once the image is large enough


def cut(image: Path) -> None:
    os.truncate(image, image.stat().st_size - 4096)


def cut_to_the_start(image: Path) -> None:
    os.truncate(image, 4096)


def empty(image: Path) -> None:
    os.truncate(image, 0)


def overwrite(image: Path, start: int, end: int) -> None:
    with image.open("r+b") as file:
        file.seek(start)
        for _ in range(start, end, 4096):
            file.write(os.urandom(4096))


def no_superblock(image: Path) -> None:
    overwrite(image, SUPERBLOCKS[0], SUPERBLOCKS[0] + 4096)


def nothing_but_superblocks(image: Path) -> None:
    overwrite(image, SUPERBLOCKS[0] + 4096, SUPERBLOCKS[1])
    overwrite(image, SUPERBLOCKS[1] + 4096, image.stat().st_size)


def superblock_with_a_flipped_bit(image: Path) -> None:
    with image.open("r+b") as file:
        file.seek(SUPERBLOCKS[0] + 72)  # the generation
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def digest(image: Path) -> str:
    with image.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (cut, ImageTruncatedError),
        (cut_to_the_start, ImageTruncatedError),
        (empty, ImageTruncatedError),
        (no_superblock, ImageCorruptError),
        (superblock_with_a_flipped_bit, ImageCorruptError),
        (nothing_but_superblocks, ImageCorruptError),
    ],
)
async def test_a_damaged_image_is_named_and_left_as_it_is(
    folder: Path,
    make_volume: MakeVolume,
    damage: Callable[[Path], None],
    error: type[VolumeError],
) -> None:
    image = folder / IMAGE_NAME
    volume = make_volume()
    await volume.create()
    upper = await volume.attach() / "active/upper"
    (upper / "work").write_bytes(b"work" * MB)
    await volume.detach()
    damage(image)
    before = digest(image)
    await volume.create()
    with pytest.raises(error, match=str(image)) as caught:
        await volume.attach()
    assert not caught.value.retry_helps
    assert digest(image) == before
    assert loop_devices(folder) == []
    assert mounts(folder) == []


async def test_a_cut_image_is_refused_before_the_device_of_a_killed_agent_is_used(
    folder: Path, make_volume: MakeVolume
) -> None:
    await make_volume().create()
    run("losetup", "--find", folder / IMAGE_NAME)
    cut(folder / IMAGE_NAME)
    with pytest.raises(ImageTruncatedError):
        await make_volume().attach()
    assert mounts(folder) == []


async def test_an_image_restored_whole_attaches_again(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume()
    await volume.create()
    upper = await volume.attach() / "active/upper"
    (upper / "work").write_bytes(b"work" * MB)
    await volume.detach()
    size_bytes = (folder / IMAGE_NAME).stat().st_size
    cut(folder / IMAGE_NAME)
    with pytest.raises(ImageTruncatedError):
        await volume.attach()
    os.truncate(folder / IMAGE_NAME, size_bytes)
    await volume.attach()
    assert (upper / "work").read_bytes() == b"work" * MB
    await volume.detach()


async def test_something_else_at_the_mount_point_is_not_mistaken_for_the_volume(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume(clock=HurriedClock())
    await volume.create()
    volume.mount_point.mkdir()
    run("mount", "-t", "tmpfs", "studios-test", volume.mount_point)
    with pytest.raises(VolumeError, match="something else"):
        await volume.attach()
    assert loop_devices(folder) == []


async def test_a_volume_in_use_stays_attached_with_everything_written(
    folder: Path, make_volume: MakeVolume
) -> None:
    volume = make_volume(clock=HurriedClock())
    await volume.create()
    upper = await volume.attach() / "active/upper"
    with (upper / "open").open("w") as file:
        file.write("work")
        file.flush()
        with pytest.raises(StillInUseError):
            await volume.detach()
        assert (await volume.measure()).size_bytes > 0
    await volume.detach()
    assert mounts(folder) == []


# ── The host's disk ──────────────────────────────────────────────────────────

SMALL = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=32 * MB, step_bytes=128 * MB, limit_bytes=1024 * MB
)


@pytest.fixture
def small_disk(folder: Path) -> Path:
    """A host's disk of 500 MB."""
    disk = folder / "disk"
    disk.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=500m", "studios-test", disk)
    return disk


def small_volume(disk: Path, *, reserve_bytes: int = 16 * MB) -> LoopVolume:
    return LoopVolume(disk / "state", SMALL, clock=SystemClock(), host_reserve_bytes=reserve_bytes)


async def test_a_volume_grows_as_far_as_the_hosts_disk_could_hold_it(small_disk: Path) -> None:
    volume = small_volume(small_disk)
    await volume.create()
    await volume.attach()
    assert await volume.grow(5) == 384 * MB, "one of five steps, though the file is sparse"
    with pytest.raises(BackingDiskFullError):
        await volume.grow(1)
    await volume.detach()
    await volume.attach()
    assert (await volume.measure()).size_bytes == 384 * MB
    await volume.detach()


async def test_a_disk_that_fills_up_is_told_and_growth_is_refused(small_disk: Path) -> None:
    volume = small_volume(small_disk)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    monitor = VolumeMonitor(volume, SMALL, clock=SteppingClock())
    await monitor.step()
    (small_disk / "others").write_bytes(b"x" * 400 * MB)
    await monitor.step()
    status = monitor.status()
    assert status is not None
    assert "host's disk is nearly full" in status.message
    (upper / "file").write_bytes(b"x" * 210 * MB)  # fits into the volume, in the cache
    await monitor.step()
    status = monitor.status()
    assert status is not None
    assert "host's disk is full: the volume can't grow" in status.message
    assert status.size_bytes == SMALL.initial_bytes
    (small_disk / "others").unlink()
    await volume.detach()


async def test_a_full_disk_stops_the_file_system_and_loses_nothing_written_before(
    small_disk: Path,
) -> None:
    volume = small_volume(small_disk)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    with (upper / "synced").open("wb") as file:
        file.write(b"synced" * MB)
        os.fsync(file.fileno())
    run("sync", "--file-system", upper)
    others = (small_disk / "others").open("wb")
    with others, contextlib.suppress(OSError):
        while True:
            others.write(b"x" * MB)
    failed = False
    for number in range(240):  # until neither data nor metadata finds a place
        try:
            with (upper / f"lost-{number}").open("wb") as file:
                file.write(os.urandom(MB))
                os.fsync(file.fileno())
        except OSError:
            failed = True
            break
    assert failed, "the disk was full"
    with contextlib.suppress(AssertionError):
        run("sync", "--file-system", upper)
    monitor = VolumeMonitor(volume, SMALL, clock=SteppingClock())
    await monitor.step()
    status = monitor.status()
    message = "" if status is None else status.message
    assert "the host's disk" in message
    with pytest.raises((FileSystemStoppedError, BackingDiskFullError)):
        await volume.grow(1)
    (small_disk / "others").unlink()
    await volume.detach()
    volume = small_volume(small_disk)
    await volume.attach()
    assert (upper / "synced").read_bytes() == b"synced" * MB
    (upper / "new").write_bytes(b"new")
    await volume.detach()
    run("btrfs", "check", small_disk / "state" / IMAGE_NAME)


async def test_a_stopped_file_system_is_told_and_can_be_attached_anew(
    small_disk: Path,
) -> None:
    volume = small_volume(small_disk)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    run("mount", "-o", "remount,ro", volume.mount_point)  # what the kernel does after an error
    with pytest.raises(FileSystemStoppedError):
        await volume.measure()
    with pytest.raises(FileSystemStoppedError):
        await volume.grow(1)
    let_go(volume)
    again = small_volume(small_disk)
    await again.attach()
    (upper / "new").write_bytes(b"new")
    await again.detach()
