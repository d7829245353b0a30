"""Repositories in memory, and folders of real file systems to restore to."""

from __future__ import annotations

import random
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Memory
from common.clock import SteppingClock

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
async def repository() -> Repository:
    storage = await open_storage(Memory())
    return await Repository.open(storage, create=True, clock=SteppingClock(), rng=random.Random(7))


@pytest.fixture(params=["tmpfs", "btrfs"])
def ground(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder of a file system of the test's own; nothing is left of it."""
    with _mounted(request.param) as folder:
        yield folder


@pytest.fixture
def memory_folder() -> Iterator[Path]:
    """The same, in memory: for tests that make and remove many files."""
    with _mounted("tmpfs") as folder:
        yield folder


@contextmanager
def _mounted(kind: str) -> Iterator[Path]:
    base = Path(tempfile.mkdtemp(prefix="studios-test-restore-"))
    mount = base / "mount"
    mount.mkdir()
    try:
        if kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", mount)
        else:
            image = base / "image"
            _run("truncate", "-s", "256M", image)
            _run("mkfs.btrfs", "-q", image)
            _run("mount", "-o", "loop", image, mount)
        try:
            yield mount
        finally:
            _run("umount", mount)
    finally:
        shutil.rmtree(base)


def _run(*arguments: str | Path) -> None:
    subprocess.run(arguments, check=True, capture_output=True)
