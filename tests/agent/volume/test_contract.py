"""What every volume promises: the same tests for each kind on the real kernel and for the fake."""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

import pytest

from agent.volume.kinds import BTRFS, EXT4, XFS, grows
from agent.volume.loop_volume import LoopVolume
from agent.volume.memory import MemoryVolume
from agent.volume.volume import (
    BackingDiskFullError,
    CannotResizeError,
    ImageMissingError,
    NoSnapshotsError,
    NotAttachedError,
    SnapshotExistsError,
)
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.volume.volume import Volume

MB = 1024**2
HUGE = 10**17


snapshots = pytest.mark.parametrize("kind", ["btrfs", "memory"])
"""Of those that take some."""
shrinking = pytest.mark.parametrize("kind", ["btrfs", "memory"])
_GROWING_EXT4 = pytest.param("ext4", marks=pytest.mark.own_kernel)
growing = pytest.mark.parametrize("kind", ["btrfs", "xfs", _GROWING_EXT4, "memory"])
growing_plain = pytest.mark.parametrize("kind", ["xfs", _GROWING_EXT4])
"""Of a mounted ext4, it takes a capability that containers' roots don't have."""
plain = pytest.mark.parametrize("kind", ["xfs", "ext4"])
KINDS = {kind.name: kind for kind in (BTRFS, XFS, EXT4)}


@pytest.fixture(params=[*KINDS, "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _grows(kind: str) -> bool:
    return kind not in KINDS or grows(KINDS[kind])


@pytest.fixture
def limits(kind: str) -> VolumeLimits:
    """Larger than elsewhere: XFS is never made smaller. What can't grow begins at its limit."""
    return VolumeLimits(
        initial_bytes=384 * MB,
        free_bytes_min=64 * MB,
        step_bytes=128 * MB,
        limit_bytes=(768 if _grows(kind) else 384) * MB,
    )


@pytest.fixture
async def volume(kind: str, folder: Path, limits: VolumeLimits) -> AsyncIterator[Volume]:
    made: Volume
    if kind in KINDS:
        made = LoopVolume(folder, limits, clock=SystemClock(), preferred=[KINDS[kind]])
    else:
        made = MemoryVolume(folder, limits)
    yield made
    await made.detach()


@pytest.fixture
async def mount(volume: Volume) -> Path:
    await volume.create()
    return await volume.attach()


async def test_an_attached_volume_has_its_folders(mount: Path) -> None:
    assert (mount / "active/upper").is_dir()
    assert (mount / "active/work").is_dir()
    assert list((mount / "active/upper").iterdir()) == []


async def test_what_is_not_there_can_not_be_attached(volume: Volume) -> None:
    with pytest.raises(ImageMissingError):
        await volume.attach()


async def test_creating_again_keeps_what_is_there(volume: Volume, mount: Path) -> None:
    (mount / "active/upper/kept").write_text("work")
    await volume.create()
    await volume.detach()
    await volume.create()
    mount = await volume.attach()
    assert (mount / "active/upper/kept").read_text() == "work"


async def test_attaching_again_is_the_same_mount(volume: Volume, mount: Path) -> None:
    (mount / "active/upper/kept").write_text("work")
    assert await volume.attach() == mount
    assert (mount / "active/upper/kept").read_text() == "work"


async def test_a_detached_volume_is_gone_from_its_mount_point(volume: Volume, mount: Path) -> None:
    await volume.detach()
    assert not (mount / "active").exists()
    await volume.detach()


async def test_a_detached_volume_refuses_what_needs_it_attached(volume: Volume) -> None:
    await volume.create()
    for call in (
        volume.measure(),
        volume.true_free(),
        volume.settle(),
        volume.grow(1),
        volume.shrink(),
        volume.snapshot("a"),
        volume.drop_snapshot("a"),
    ):
        with pytest.raises(NotAttachedError):
            await call


async def test_a_new_volume_is_of_the_initial_size_and_free(
    volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    space = await volume.measure()
    assert space.size_bytes == limits.initial_bytes
    assert 0.75 * limits.initial_bytes < space.true_free_bytes <= limits.initial_bytes
    assert space.metadata_free_bytes > 0.5 * limits.initial_bytes
    assert space.host_free_bytes > limits.initial_bytes
    assert await volume.true_free() == pytest.approx(space.true_free_bytes, abs=8 * MB)


async def test_what_is_deleted_is_free_soon_after_it_settled(volume: Volume, mount: Path) -> None:
    path = mount / "active/upper/file"
    with path.open("wb") as file:
        file.write(b"x" * 64 * MB)
        file.flush()
        os.fsync(file.fileno())
    used = await volume.true_free()
    path.unlink()
    async with asyncio.timeout(10):  # by itself it takes the kernel half a minute
        while await volume.true_free() < used + 32 * MB:
            await volume.settle()
            await asyncio.sleep(0.01)


async def test_what_is_written_is_not_free_at_once(volume: Volume, mount: Path) -> None:
    before = await volume.true_free()
    (mount / "active/upper/file").write_bytes(b"x" * 64 * MB)  # not synced: in the page cache
    assert await volume.true_free() <= before - 64 * MB


@growing
async def test_growing_adds_whole_steps_up_to_the_limit(
    volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    before = await volume.true_free()
    assert await volume.grow(1) == limits.initial_bytes + limits.step_bytes
    assert await volume.true_free() == pytest.approx(before + limits.step_bytes, abs=8 * MB)
    assert await volume.grow(100) == limits.limit_bytes
    assert await volume.grow(1) == limits.limit_bytes
    assert (await volume.measure()).size_bytes == limits.limit_bytes


@growing
async def test_a_grown_volume_keeps_its_size_and_files(volume: Volume, mount: Path) -> None:
    (mount / "active/upper/kept").write_text("work")
    size_bytes = await volume.grow(2)
    await volume.detach()
    await volume.attach()
    assert (await volume.measure()).size_bytes == size_bytes
    assert (mount / "active/upper/kept").read_text() == "work"


@shrinking
async def test_shrinking_undoes_growing_and_stops_at_the_initial_size(
    volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    (mount / "active/upper/kept").write_bytes(b"work" * 1024)
    await volume.grow(2)
    assert await volume.shrink() == limits.initial_bytes + limits.step_bytes
    assert await volume.shrink() == limits.initial_bytes
    assert await volume.shrink() == limits.initial_bytes
    await volume.detach()
    await volume.attach()
    assert (mount / "active/upper/kept").read_bytes() == b"work" * 1024
    assert (await volume.measure()).size_bytes == limits.initial_bytes


@shrinking
async def test_a_volume_in_use_does_not_shrink(
    volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    size_bytes = await volume.grow(1)
    (mount / "active/upper/file").write_bytes(b"x" * (limits.initial_bytes - 8 * MB))
    with pytest.raises(CannotResizeError):
        await volume.shrink()
    assert (await volume.measure()).size_bytes == size_bytes


@growing_plain
async def test_what_can_not_shrink_stays_as_it_is(
    volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    (mount / "active/upper/kept").write_text("work")
    size_bytes = await volume.grow(1)
    assert size_bytes > limits.initial_bytes
    assert await volume.shrink() == size_bytes
    assert (await volume.measure()).size_bytes == size_bytes
    assert (mount / "active/upper/kept").read_text() == "work"


@snapshots
async def test_what_takes_snapshots_has_no_weakness(volume: Volume, mount: Path) -> None:
    assert volume.takes_snapshots
    assert await volume.weakness() == ""


@plain
async def test_what_takes_no_snapshots_says_so(volume: Volume, mount: Path) -> None:
    assert not volume.takes_snapshots
    with pytest.raises(NoSnapshotsError):
        await volume.snapshot("one")
    await volume.drop_snapshot("one")
    weakness = await volume.weakness()
    assert "half-way" in weakness
    assert weakness.endswith(".")


async def test_an_upper_of_it_can_lie_below_an_overlay(mount: Path, folder: Path) -> None:
    """As a session's does: a name's kind in a listing, overlay's attributes, and whiteouts."""
    lower, merged = folder / "lower", folder / "merged"
    for path in (lower, merged):
        path.mkdir()
    (lower / "gone").touch()
    layers = f"lowerdir={lower},upperdir={mount}/active/upper,workdir={mount}/active/work"
    run("mount", "-t", "overlay", "overlay", "-o", layers, merged)
    try:
        (merged / "gone").unlink()
        (merged / "kept").write_text("work")
        os.setxattr(merged / "kept", "user.note", b"n" * 2000)
        assert [path.name for path in merged.iterdir()] == ["kept"]
    finally:
        run("umount", merged)
    upper = mount / "active/upper"
    assert stat.S_ISCHR((upper / "gone").lstat().st_mode)
    assert os.getxattr(upper / "kept", "user.note") == b"n" * 2000
    kinds = {entry.name: entry.is_file(follow_symlinks=False) for entry in os.scandir(upper)}
    assert kinds == {"gone": False, "kept": True}


@snapshots
async def test_a_snapshot_has_what_was_written_before_and_nothing_after(
    volume: Volume, mount: Path
) -> None:
    file = mount / "active/upper/file"
    file.write_text("before")
    copy = await volume.snapshot("one")
    file.write_text("after")
    (mount / "active/upper/later").touch()
    assert (copy / "upper/file").read_text() == "before"
    assert not (copy / "upper/later").exists()


@snapshots
async def test_a_snapshot_is_never_taken_over_another(volume: Volume, mount: Path) -> None:
    await volume.snapshot("one")
    with pytest.raises(SnapshotExistsError):
        await volume.snapshot("one")
    await volume.drop_snapshot("one")
    await volume.drop_snapshot("one")
    assert (await volume.snapshot("one")).is_dir()


@snapshots
async def test_snapshots_end_with_the_agent_that_took_them(volume: Volume, mount: Path) -> None:
    copy = await volume.snapshot("one")
    await volume.detach()
    await volume.attach()
    assert not copy.exists()
    assert (mount / "active/upper").is_dir()


async def test_a_host_without_room_gets_no_volume(
    kind: str, folder: Path, limits: VolumeLimits
) -> None:
    refused: Volume
    if kind in KINDS:
        refused = LoopVolume(folder, limits, clock=SystemClock(), host_reserve_bytes=HUGE)
    else:
        refused = MemoryVolume(folder, limits, host_free_bytes=0)
    with pytest.raises(BackingDiskFullError, match="host's disk"):
        await refused.create()
    with pytest.raises(ImageMissingError):
        await refused.attach()


@growing
async def test_a_host_without_room_refuses_growth_and_nothing_else(
    kind: str, folder: Path, volume: Volume, mount: Path, limits: VolumeLimits
) -> None:
    (mount / "active/upper/kept").write_text("work")
    await volume.detach()
    if kind in KINDS:
        volume = LoopVolume(folder, limits, clock=SystemClock(), host_reserve_bytes=HUGE)
    else:
        assert isinstance(volume, MemoryVolume)
        volume.host_free_bytes = 0
    await volume.attach()
    with pytest.raises(BackingDiskFullError, match="host's disk"):
        await volume.grow(1)
    assert (await volume.measure()).size_bytes == limits.initial_bytes
    assert (mount / "active/upper/kept").read_text() == "work"
    await volume.detach()
