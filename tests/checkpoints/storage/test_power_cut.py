"""What a disk holds in the moment in which a creation returns, as a power cut would leave it."""

from __future__ import annotations

import shutil
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.folder import FolderStorage

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = bytes(range(256)) * 4096 * 3
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "btrfs": ["mkfs.btrfs", "-q", "-f"]}
CONTROLS_MAX = 10
"""Somebody else's `sync` in the same instant would spoil one."""


@pytest.fixture(params=MAKE)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Give an empty file system: where it is mounted, and the image that is its disk."""
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(256 << 20)
    subprocess.run([*MAKE[request.param], image], check=True)
    with mounted(image, tmp_path / "before") as place:
        yield place, image


@contextmanager
def after_a_power_cut(image: Path) -> Iterator[Path]:
    """Mount what the disk has got so far, without what only the running kernel's memory has."""
    copy = image.with_name("after.img")
    shutil.copyfile(image, copy)
    with mounted(copy, image.with_name("after")) as place:
        yield place


@contextmanager
def mounted(image: Path, place: Path) -> Iterator[Path]:
    place.mkdir(exist_ok=True)
    subprocess.run(["mount", "-o", "loop", image, place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


async def test_what_was_reported_as_created_survives_a_power_cut(disk: tuple[Path, Path]) -> None:
    place, image = disk
    with closing(FolderStorage(place, "below/here")) as storage:
        await storage.put_new("packs/aa/one", CONTENT)
        with after_a_power_cut(image) as after:
            assert (after / "below/here/packs/aa/one").read_bytes() == CONTENT


async def test_a_folder_that_another_made_is_made_durable_too(disk: tuple[Path, Path]) -> None:
    place, image = disk
    (place / "below/here/packs/aa").mkdir(parents=True)
    with closing(FolderStorage(place, "below/here")) as storage:
        await storage.put_new("packs/aa/one", CONTENT)
        with after_a_power_cut(image) as after:
            assert (after / "below/here/packs/aa/one").read_bytes() == CONTENT


def test_what_nobody_synced_does_not_survive(disk: tuple[Path, Path]) -> None:
    """The control: without syncing, these tests would fail."""
    place, image = disk
    for number in range(CONTROLS_MAX):
        (place / f"unsynced-{number}").write_bytes(CONTENT)
        with after_a_power_cut(image) as after:
            found = after / f"unsynced-{number}"
            if not found.exists() or found.read_bytes() != CONTENT:
                return
    pytest.fail("whatever is written is on the disk at once")
