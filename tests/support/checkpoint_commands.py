"""Work directories for `studios checkpoints`, and what it prints for scripts."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any

from checkpoints.repository import Repository
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.opening import REPOSITORY_FOLDER
from checkpoints.tree.entry import Kind
from common.clock import SteppingClock
from tests.support.every_kind import every_kind, file, node
from tests.support.packed import WHEN, Packing

if TYPE_CHECKING:
    from pathlib import Path

    from tests.studios.conftest import Studios

LONG = b"long enough for a chunk of its own " * 20


async def furnish(folder: Path) -> None:
    """Make a work directory with two generations of one checkpoint, and another checkpoint."""
    repository = await open_repository(folder)
    first, second, other = Packing(), Packing(), Packing()
    home = node(Kind.FOLDER, mode=0o700)
    await first.commit(
        repository,
        {b"root": home, b"root/a": file(first.file(LONG)), b"root/gone": file(b"x")},
        checkpoint=0xAAA << 52,
    )
    await second.commit(
        repository,
        {b"root": home, b"root/a": file(second.file(LONG, 70_000, b"end")), b"root/b": file(b"y")},
        checkpoint=0xAAA << 52,
        generation=2,
        created_at=WHEN.replace(hour=9),
    )
    await other.commit(repository, every_kind(other), checkpoint=0xBBB << 52)


async def open_repository(folder: Path) -> Repository:
    storage = FolderStorage(folder, REPOSITORY_FOLDER)
    return await Repository.open(storage, create=True, clock=SteppingClock(), rng=random.Random(3))


async def read(studios: Studios, *arguments: str | Path) -> Any:
    done = await studios("checkpoints", *map(str, arguments), "-o", "json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)
