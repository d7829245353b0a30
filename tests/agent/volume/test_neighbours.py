"""Several sessions on one disk: together they are promised no more than it holds."""

from __future__ import annotations

import contextlib
import fcntl
import os
from typing import TYPE_CHECKING

import pytest

from agent.host_state import HostState
from agent.volume.loop_volume import IMAGE_NAME, LoopVolume
from agent.volume.neighbours import promised_to_others_bytes
from agent.volume.volume import BackingDiskFullError
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import let_go, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Make = Callable[[str], LoopVolume]

MB = 1024**2
DISK_BYTES = 900 * MB
RESERVE_BYTES = 16 * MB
LIMITS = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=32 * MB, step_bytes=128 * MB, limit_bytes=1024 * MB
)


@pytest.fixture
def disk(folder: Path) -> Path:
    path = folder / "disk"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "studios-test", path)
    return path


@pytest.fixture
def make(disk: Path) -> Iterator[Make]:
    """Make the volume of the session of that name."""
    made: list[LoopVolume] = []

    def volume_of(name: str) -> LoopVolume:
        made.append(
            LoopVolume(disk / name, LIMITS, clock=SystemClock(), host_reserve_bytes=RESERVE_BYTES)
        )
        return made[-1]

    yield volume_of
    for volume in made:
        let_go(volume)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the session's folder as its agent does for as long as it lives."""
    folder.mkdir(exist_ok=True)
    with HostState(folder).lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fill(path: Path) -> None:
    """Write until the volume is full, all the way to the disk."""
    with path.open("wb", buffering=0) as file:
        with contextlib.suppress(OSError):
            while file.write(bytes(8 * MB)):
                pass
        os.fsync(file.fileno())


async def test_what_a_living_neighbour_may_still_write_is_given_to_nobody_else(
    disk: Path, make: Make
) -> None:
    one, two = make("one"), make("two")
    with held(disk / "one"), held(disk / "two"):
        await one.create()
        await two.create()
        first, second = await one.attach(), await two.attach()
        assert await one.grow(5) == 512 * MB, "two steps of five: the other may fill its 256 MB"
        with pytest.raises(BackingDiskFullError, match="MB are kept for other sessions"):
            await two.grow(1)
        for mount in (first, second):
            fill(mount / "active/upper/file")
        for mount in (first, second):  # a file system that met the end of the disk refuses these
            (mount / "active/upper/file").unlink()
            (mount / "active/upper/more").write_text("still writable")
        await one.detach()
        await two.detach()


async def test_a_session_that_is_over_keeps_nothing_from_others(disk: Path, make: Make) -> None:
    one, two = make("one"), make("two")
    with held(disk / "one"):
        await one.create()
        await one.attach()
        await one.grow(4)
        with pytest.raises(BackingDiskFullError, match="MB are kept for other sessions"):
            await two.create()
        await one.detach()
    await two.create()
    assert (disk / "two" / IMAGE_NAME).exists()


def test_promises_of_living_neighbours_on_the_same_disk_are_added_up(
    folder: Path, disk: Path
) -> None:
    def image(name: str, *, size_bytes: int, written_bytes: int = 0) -> Path:
        path = disk / name / IMAGE_NAME
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * written_bytes)
        os.truncate(path, size_bytes)
        return path

    own = image("own", size_bytes=700 * MB)
    image("half", size_bytes=200 * MB, written_bytes=100 * MB)
    image("whole", size_bytes=MB, written_bytes=MB)
    image("over", size_bytes=400 * MB)
    (disk / "a file").touch()
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "image").touch()
    os.truncate(elsewhere / "image", 300 * MB)
    (disk / "moved").mkdir()
    (disk / "moved" / IMAGE_NAME).symlink_to(elsewhere / "image")
    with (
        held(disk / "own"),
        held(disk / "half"),
        held(disk / "whole"),
        held(disk / "moved"),
        held(disk / "without"),
    ):
        assert promised_to_others_bytes(own) == 100 * MB
    assert promised_to_others_bytes(own) == 0
    assert promised_to_others_bytes(disk / "nowhere" / IMAGE_NAME) == 0
