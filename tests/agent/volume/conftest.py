"""Volumes on the real kernel, and nothing of them left behind, whatever a test does."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent.volume.loop_volume import LoopVolume
from common.clock import SystemClock
from common.session_spec import VolumeLimits
from tests.agent.volume.kernel import clean_up, let_go

if TYPE_CHECKING:
    from collections.abc import Iterator

    from agent.volume.loopdev import LoopDevices
    from common.clock import Clock
    from tests.agent.volume.kernel import MakeVolume

MB = 1024**2
LIMITS = VolumeLimits(
    initial_bytes=256 * MB, free_bytes_min=64 * MB, step_bytes=128 * MB, limit_bytes=640 * MB
)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A host state folder; its mounts, loop devices and files are removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="studios-test-volume-"))
    try:
        yield path
    finally:
        clean_up(path)
        shutil.rmtree(path)


@pytest.fixture
def limits() -> VolumeLimits:
    return LIMITS


@pytest.fixture
def make_volume(folder: Path) -> Iterator[MakeVolume]:
    """Make a volume object for the folder, as each agent of a session does."""
    made: list[LoopVolume] = []

    def make(
        limits: VolumeLimits = LIMITS,
        *,
        clock: Clock | None = None,
        devices: LoopDevices | None = None,
    ) -> LoopVolume:
        made.append(LoopVolume(folder, limits, clock=clock or SystemClock(), devices=devices))
        return made[-1]

    yield make
    for volume in made:
        let_go(volume)
