"""Restored layers, and nothing of them left behind, whatever a test does."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from agent.checkpointing.layer import RestoredLayer
from common.clock import SystemClock
from tests.agent.volume.kernel import let_go, loop_devices, mounts, wait_for
from tests.support.saver_rig import begun

if TYPE_CHECKING:
    from pathlib import Path

    from agent.checkpointing.facts import Saved
    from agent.checkpointing.process import SaverProcess

MB = 1024**2
MADE: list[RestoredLayer] = []


def let_go_of(layer: RestoredLayer) -> None:
    """Close its descriptors, as the kernel does for an agent that is killed."""
    if layer._volume is not None:
        let_go(layer._volume)


def restored_layer(host: Path) -> RestoredLayer:
    MADE.append(RestoredLayer(host / "restored", clock=SystemClock(), host_reserve_bytes=0))
    return MADE[-1]


async def saved_of(saver: SaverProcess, files: Path) -> Saved:
    await begun(saver)
    return await saver.write(files, changes=None)


def assert_nothing_is_left(host: Path) -> None:
    assert not (host / "restored").exists()
    wait_for(lambda: not mounts(host / "restored"), "the end of all mounts")
    wait_for(lambda: not loop_devices(host), "the end of all loop devices")


def much(files: Path, number: int = 4) -> None:
    """Make files of 24 MB each that take a while, and little room in the store."""
    block = random.Random(2).randbytes(MB)
    for each in range(number):
        (files / f"much{each}").write_bytes(block * 24)
