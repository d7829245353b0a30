"""What is saved, and where it is restored."""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.agent.checkpointing.layer_rig import MADE, let_go_of
from tests.agent.volume.kernel import clean_up

if TYPE_CHECKING:
    from collections.abc import Iterator

MB = 1024**2


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What is saved, and where it is restored."""
    path = tmp_path / "folder"
    path.mkdir()
    (path / "file").write_bytes(random.Random(1).randbytes(3 * MB))
    (path / "note").write_text("a note")
    return path


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """What is saved."""
    path = tmp_path / "files"
    (path / "etc").mkdir(parents=True)
    (path / "etc/settings").write_text("settings")
    os.link(path / "etc/settings", path / "another-name")
    (path / "large").write_bytes(random.Random(1).randbytes(2 * MB))
    return path


@pytest.fixture
def host() -> Iterator[Path]:
    """A session's host state folder; its mounts, loop devices and files are removed afterwards."""
    path = Path(tempfile.mkdtemp(dir="/var/lib", prefix="studios-test-layer-"))
    try:
        yield path
    finally:
        while MADE:
            let_go_of(MADE.pop())
        clean_up(path)
        shutil.rmtree(path)
