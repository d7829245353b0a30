"""A volume with some files, and what happens between two snapshots of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.support.volume_line import Mounted, Rounds, mounted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MB = 1024**2
LARGE = bytes(range(256)) * 1024
"""Too long for a leaf: it lies in extents of its own, which sixty-four pages fill."""


@pytest.fixture(scope="module")
def volume() -> Iterator[Mounted]:
    with mounted(512 * MB) as made:
        yield made


@pytest.fixture
def upper(volume: Mounted) -> Path:
    """A few files and folders."""
    volume.prepare()
    upper = volume.upper
    (upper / "a/b/c").mkdir(parents=True)
    (upper / "other").mkdir()
    for name in ("a/file", "a/b/file", "a/b/c/file"):
        (upper / name).write_bytes(name.encode() * 100)
    (upper / "large").write_bytes(LARGE)
    (upper / "same").write_bytes(LARGE)
    (upper / "empty").touch()
    os.link(upper / "a/file", upper / "other/name of a file")
    (upper / "link").symlink_to("a/file")
    return upper


@pytest.fixture
async def rounds(volume: Mounted, upper: Path) -> Rounds:
    return await Rounds.begin(volume)
