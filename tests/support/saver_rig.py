"""Savers in processes of their own, with work directories in folders."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from agent.checkpointing.process import SaverProcess
from common.session_spec import WorkDirectory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

CHECKPOINT = "00000000000000c1"
OTHER = "00000000000000c2"


def work_directory(folder: Path) -> WorkDirectory:
    """Return one in a folder below, made if need be."""
    path = folder / "work-directory"
    path.mkdir(exist_ok=True)
    return WorkDirectory(url=f"file://{path}")


@asynccontextmanager
async def saving(
    where: WorkDirectory, *, cancel_seconds_max: float = 5.0
) -> AsyncIterator[SaverProcess]:
    saver = SaverProcess(where, cancel_seconds_max=cancel_seconds_max)
    try:
        yield saver
    finally:
        await saver.close()


async def begun(saver: SaverProcess, *, run_number: int = 1) -> None:
    """Have a checkpoint that is new, or goes on, open."""
    await saver.open(CHECKPOINT, run_number=run_number, image="an image", parent=None)


async def until(condition: Callable[[], object]) -> None:
    """Wait for it; the test's own limit bounds a failing one."""
    while not condition():
        await asyncio.sleep(0.001)


def is_alive(pid: int) -> bool:
    """Tell if there is such a process that hasn't ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] != b"Z"
    except OSError:
        return False


def objects(where: WorkDirectory) -> int:
    """Return how many files the store has, complete or not."""
    return sum(len(files) for _, _, files in os.walk(repository_of(where)))


def repository_of(where: WorkDirectory) -> Path:
    return Path(where.url.removeprefix("file://")) / ".studios/checkpoints"


def record_of(where: WorkDirectory, generation: int) -> Path:
    return repository_of(where) / f"checkpoints/{CHECKPOINT}/{generation:010d}"
