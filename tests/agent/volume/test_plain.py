"""Volumes of XFS and ext4: growing, killed, damaged, and they stay what they are."""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.volume import image, kinds, syscalls
from agent.volume.kinds import BTRFS, CAP_SYS_RESOURCE, EXT4, PREFERRED, XFS
from agent.volume.loop_volume import IMAGE_NAME, LoopVolume
from agent.volume.monitor import VolumeMonitor
from agent.volume.volume import (
    FileSystemStoppedError,
    ImageCorruptError,
    ImageTruncatedError,
    KernelLacksError,
    NotPermittedError,
    VolumeError,
)
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.holder import PLAIN_LIMITS
from tests.agent.volume.kernel import (
    let_go,
    loop_devices,
    mounts,
    run,
    wait_for,
    without_capability,
)
from tests.agent.volume.test_damage import cut, digest, empty, overwrite
from tests.agent.volume.test_full_speed import watched
from tests.agent.volume.test_killed import (
    assert_all_is_there,
    holder,
    kill_after,
    kill_child,
    lines_until,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from agent.volume.file_system import FileSystem

MB = 1024**2
SCALED = VolumeLimits(
    initial_bytes=512 * MB, free_bytes_min=256 * MB, step_bytes=256 * MB, limit_bytes=2048 * MB
)
XFS_SHUT_DOWN = syscalls.request_read(ord("X"), 125, 4)  # xfs_fs.h
CHECKS = {"xfs": ("xfs_repair", "-n"), "ext4": ("e2fsck", "-f", "-n")}


FULL_SPEED = pytest.mark.parametrize(
    "kind",
    [pytest.param(XFS, id="xfs"), pytest.param(EXT4, id="ext4", marks=pytest.mark.soak)],
)


@pytest.fixture(params=[XFS, EXT4], ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> FileSystem:
    found: FileSystem = request.param
    return found


class Made:
    """Volumes of one folder, each as a new agent makes it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.image = folder / IMAGE_NAME
        self.volumes: list[LoopVolume] = []

    def __call__(self, *preferred: FileSystem, limits: VolumeLimits = PLAIN_LIMITS) -> LoopVolume:
        made = LoopVolume(
            self.folder, limits, clock=SystemClock(), preferred=preferred or PREFERRED
        )
        self.volumes.append(made)
        return made

    def check(self, kind: FileSystem) -> None:
        run(*CHECKS[kind.name], self.image)


@pytest.fixture
def make(folder: Path) -> Iterator[Made]:
    made = Made(folder)
    yield made
    for volume in made.volumes:
        let_go(volume)


# ── Growing ──────────────────────────────────────────────────────────────────


@FULL_SPEED
async def test_a_writer_at_full_speed_gets_enospc_at_the_limit_and_not_before(
    make: Made, kind: FileSystem
) -> None:
    volume = make(kind, limits=SCALED)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    [complaint] = await watched(monitor, ("dd", "if=/dev/zero", f"of={upper / 'file'}", "bs=1M"))
    assert "No space left" in complaint
    assert (await volume.measure()).size_bytes == SCALED.limit_bytes
    assert (upper / "file").stat().st_size > 0.85 * SCALED.limit_bytes
    assert monitor.growth_failures == 0
    (upper / "file").unlink()
    async with asyncio.timeout(60):  # XFS frees in the background what was unlinked
        while (status := monitor.status()) is None or status.full:
            await asyncio.sleep(0.1)
            await monitor.step()
    await volume.detach()
    make.check(kind)


@FULL_SPEED
async def test_many_small_files_find_room_for_their_names(make: Made, kind: FileSystem) -> None:
    volume = make(kind, limits=SCALED)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    monitor = VolumeMonitor(volume, SCALED, clock=SystemClock())
    script = (
        "import os, sys\n"
        "for n in range(80000):\n"
        "    if n % 1000 == 0: os.mkdir(f'{sys.argv[1]}/{n // 1000}')\n"
        "    os.mknod(f'{sys.argv[1]}/{n // 1000}/{n}' + 'x' * 200)\n"
    )
    [complaint] = await watched(monitor, ("python3", "-c", script, upper))
    assert complaint == ""
    await volume.detach()


@pytest.fixture
def poor() -> Iterator[None]:
    """Be a container's root."""
    with without_capability(CAP_SYS_RESOURCE):
        yield


@pytest.mark.usefixtures("poor")
async def test_what_can_not_grow_is_as_large_as_it_may_become_at_once(make: Made) -> None:
    volume = make(EXT4)
    await volume.create()
    await volume.attach()
    assert (await volume.measure()).size_bytes == PLAIN_LIMITS.limit_bytes
    assert await volume.grow(1) == PLAIN_LIMITS.limit_bytes
    await volume.detach()
    volume = make(limits=SCALED)
    await volume.attach()
    with pytest.raises(NotPermittedError, match="CAP_SYS_RESOURCE"):
        await volume.grow(1)
    await volume.detach()


@pytest.mark.usefixtures("poor")
@pytest.mark.parametrize("more_bytes", [4096, MB, 2 * MB])
async def test_an_image_ends_where_its_ext4_does(make: Made, more_bytes: int) -> None:
    """mkfs leaves out a last group of 128 MB in which there is little but tables."""
    size_bytes = 384 * MB + more_bytes
    limits = msgspec.structs.replace(PLAIN_LIMITS, initial_bytes=size_bytes, limit_bytes=size_bytes)
    volume = make(EXT4, limits=limits)
    await volume.create()
    await volume.attach()
    found = (await volume.measure()).size_bytes
    assert size_bytes - 2 * MB <= found <= size_bytes
    assert make.image.stat().st_size == found
    await volume.detach()
    make.check(EXT4)


@pytest.mark.usefixtures("poor")
async def test_an_image_with_room_that_ext4_can_not_take_is_used_as_it_is(make: Made) -> None:
    await make(EXT4).create()
    before = make.image.stat().st_size
    os.truncate(make.image, before + 256 * MB)
    volume = make(EXT4)
    await volume.attach()
    assert (await volume.measure()).size_bytes == before
    await volume.detach()


async def test_a_growth_that_was_interrupted_is_finished(make: Made) -> None:
    volume = make(XFS)
    await volume.create()
    os.truncate(make.image, PLAIN_LIMITS.initial_bytes + PLAIN_LIMITS.step_bytes)
    await volume.attach()
    size_bytes = (await volume.measure()).size_bytes
    assert size_bytes == PLAIN_LIMITS.initial_bytes + PLAIN_LIMITS.step_bytes
    await volume.detach()
    make.check(XFS)


# ── Killed ───────────────────────────────────────────────────────────────────


async def test_killed_nothing_stays_and_every_byte_is_there(make: Made, kind: FileSystem) -> None:
    with holder(make.folder, "hold", kind.name) as process:
        lines_until(process, "child")
        last = kill_after(process, 100)
        kill_child(make.folder)
    wait_for(lambda: not mounts(make.folder), "the end of all mounts")
    wait_for(lambda: not loop_devices(make.folder), "the end of all loop devices")
    volume = make()
    mount = await volume.attach()
    assert_all_is_there(mount / "active/upper", last)
    await volume.detach()
    make.check(kind)


async def test_one_still_mounted_elsewhere_is_taken_over_with_its_cache(
    make: Made, kind: FileSystem
) -> None:
    with holder(make.folder, "hold", kind.name) as process:
        last = kill_after(process, 100)
        device = loop_devices(make.folder)
        assert mounts(make.folder), "the child has it"
        volume = make()
        mount = await volume.attach()
        assert loop_devices(make.folder) == device, "never attached twice"
        assert_all_is_there(mount / "active/upper", last)
        kill_child(make.folder)
    await volume.detach()
    assert loop_devices(make.folder) == []
    make.check(kind)


async def test_killed_while_it_grows_nothing_is_lost(make: Made) -> None:
    volume = make(XFS)
    await volume.create()
    mount = await volume.attach()
    (mount / "active/upper/kept").write_bytes(b"kept" * MB)
    await volume.detach()
    for turns in range(4):
        with holder(make.folder, "resize", XFS.name) as process:
            lines_until(process, "attached")
            for _ in range(turns):
                lines_until(process, "size")
            process.kill()
            process.wait()
        await volume.attach()
        assert (mount / "active/upper/kept").read_bytes() == b"kept" * MB
        assert (await volume.measure()).size_bytes == make.image.stat().st_size, "finished"
        await volume.detach()
        make.check(XFS)


async def test_one_that_the_kernel_has_stopped_says_so_and_goes_on_mounted_anew(
    make: Made, kind: FileSystem
) -> None:
    volume = make(kind)
    await volume.create()
    upper = await volume.attach() / "active/upper"
    (upper / "kept").write_text("work")
    await volume.measure()
    stop(make, kind, upper)
    with pytest.raises(FileSystemStoppedError):
        await volume.measure()
    await volume.detach()
    await volume.attach()
    assert (upper / "kept").read_text() == "work"
    await volume.measure()
    await volume.detach()


def stop(make: Made, kind: FileSystem, upper: Path) -> None:
    """Have the kernel find an error that it can't survive, once everything is written."""
    run("sync", "--file-system", upper)
    if kind is EXT4:
        [device] = loop_devices(make.folder)
        Path(f"/sys/fs/ext4/{Path(device).name}/trigger_fs_error").write_text("a test")
        return
    fd = os.open(upper, os.O_RDONLY)
    syscalls.ioctl(fd, XFS_SHUT_DOWN, bytearray(4))
    os.close(fd)


# ── Damaged, and of which kind ───────────────────────────────────────────────


def no_superblock(path: Path) -> None:
    overwrite(path, 0, 4096)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (cut, ImageTruncatedError),
        (empty, ImageTruncatedError),
        (no_superblock, ImageCorruptError),
    ],
)
async def test_a_damaged_image_is_named_and_left_as_it_is(
    make: Made, kind: FileSystem, damage: Callable[[Path], None], error: type[VolumeError]
) -> None:
    volume = make(kind)
    await volume.create()
    await volume.attach()
    await volume.detach()
    damage(make.image)
    before = digest(make.image)
    await volume.create()
    with pytest.raises(error, match=str(make.image)):
        await volume.attach()
    assert digest(make.image) == before
    assert loop_devices(make.folder) == []


async def test_an_image_stays_what_it_is(make: Made, kind: FileSystem) -> None:
    await make(kind).create()
    volume = make()
    await volume.create()
    await volume.attach()
    assert not volume.takes_snapshots
    assert image.check(make.image).kind is kind
    await volume.detach()


async def test_an_image_of_a_kind_that_the_kernel_has_not_is_refused_as_it_is(
    make: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of btrfs, which this kernel calls by another name than the test does."""
    await make(BTRFS).create()
    before = digest(make.image)
    monkeypatch.setattr(kinds, "IN_IMAGES", (replace(BTRFS, name="nowhere"),))
    volume = make(XFS)
    await volume.create()
    with pytest.raises(KernelLacksError, match="the kernel has no nowhere"):
        await volume.attach()
    assert digest(make.image) == before
    assert loop_devices(make.folder) == []


async def test_what_a_program_wrote_is_not_taken_for_a_file_system(
    make: Made, kind: FileSystem
) -> None:
    volume = make(kind)
    await volume.create()
    with make.image.open("r+b") as file:  # where some file's content may lie
        os.pwrite(file.fileno(), b"_BHRfS_M", 64 * 1024 + 64)
        os.pwrite(file.fileno(), struct.pack("<Q", 1), 64 * 1024 + 209)
    assert image.check(make.image).kind is kind
