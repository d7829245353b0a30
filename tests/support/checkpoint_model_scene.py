"""A repository in the middle of its life, and all that may be done to it next.

It has a final checkpoint, one that is being written, packs that are announced, packs that may go
now, and packs that are to be rewritten. Each act begins with a repository of its own, as a program
does, so it can be tried again by whoever comes next.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.collecting.sweeping import Sweeper, SweepSettings
from checkpoints.format.ids import CheckpointId
from checkpoints.reading.restore import restore
from checkpoints.reading.verify import verify
from checkpoints.repository import Repository
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_model_oracle import Oracle, Things, overlaid
from tests.support.checkpoint_model_store import SimulatedStore
from tests.support.checkpoint_rig import Clock, read_back, seen

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from checkpoints.storage.storage import Storage

FINAL, RUNNING, NEW = (CheckpointId(f"{number:016x}") for number in (0xF, 0xA, 0xE))
BYTES = 700
"""Of a file: more than what is kept in the tree itself."""


@dataclass
class Scene:
    """What was there before, and what each tree that may be committed holds."""

    store: SimulatedStore
    folder: Path
    """The volume of the run that writes."""
    trees: list[Things]

    def oracle(self, store: SimulatedStore) -> None:
        """Assert that all that a store has is whole, and something that was to be committed."""
        oracle = Oracle(store)
        for place in oracle.places():
            record = oracle.record(place)
            if record.tree is not None:
                assert oracle.holds(record, record.tree)[0] in self.trees, place


_seeds = itertools.count()


async def opened(store: Storage) -> Repository:
    """Return it as a new program has it: with names of its own."""
    rng = random.Random(next(_seeds))
    return await Repository.open(store, create=True, clock=Clock(), rng=rng)


def write_files(folder: Path, names: Mapping[str, int]) -> None:
    """Give files the content of a number."""
    for name, number in names.items():
        (folder / name).write_bytes(random.Random(number).randbytes(BYTES))


async def scene(folder: Path) -> Scene:
    """Make one."""
    store = SimulatedStore()
    ended, running = folder / "ended", folder / "running"
    trees: list[Things] = []
    for each in (ended, running):
        each.mkdir()
    write_files(ended, {"a": 1, "b": 2})
    one = await Writer.open(await opened(store), FINAL, run_number=1)
    await one.write(ended, final=True)
    trees.append(seen(ended))
    two = await Writer.open(await opened(store), RUNNING, run_number=2)
    for number in range(5):
        write_files(running, {f"{name}": number * 10 + name for name in range(number, 6)})
        await two.write(running)
        trees.append(seen(running))
        store.elapsed += timedelta(hours=25)
        await collect(await opened(store))
    write_files(running, {"b": 2, "new": 99})
    trees.append(seen(running))
    trees.append(overlaid(trees[0], seen(running)))
    store.elapsed += timedelta(hours=25)
    return Scene(store, running, trees)


# ── Acts ─────────────────────────────────────────────────────────────────────


async def first_write(store: Storage, scene: Scene, empty: Path) -> None:
    writer = await Writer.open(await opened(store), NEW, run_number=9)
    await writer.write(scene.folder)


async def next_write(store: Storage, scene: Scene, empty: Path) -> None:
    writer = await Writer.open(await opened(store), RUNNING, run_number=9)
    await writer.write(scene.folder)


async def continued(store: Storage, scene: Scene, empty: Path) -> None:
    repository = await opened(store)
    parent = await seal(repository, FINAL, run_number=9)
    writer = await Writer.open(repository, NEW, run_number=9, parent=parent)
    await writer.write(scene.folder)


async def sealed(store: Storage, scene: Scene, empty: Path) -> None:
    assert await seal(await opened(store), RUNNING, run_number=9) is not None


async def collected(store: Storage, scene: Scene, empty: Path) -> None:
    assert not (await collect(await opened(store))).is_blocked


async def deleted(store: Storage, scene: Scene, empty: Path) -> None:
    await delete_checkpoint(await opened(store), FINAL)


async def swept(store: Storage, scene: Scene, empty: Path) -> None:
    repository = await opened(store)
    writer = await Writer.open(repository, RUNNING, run_number=9)
    sweeper = Sweeper(repository, writer, SweepSettings(written_bytes_min=0, written_share_min=0))
    for _ in range(2):
        await writer.write(scene.folder)
        await sweeper.sweep()


async def restored(store: Storage, scene: Scene, empty: Path) -> None:
    repository = await opened(store)
    record = (await repository.records(FINAL)).newest
    assert record is not None
    await restore(repository, record, empty)
    assert seen(empty) == scene.trees[0]


async def read(store: Storage, scene: Scene, empty: Path) -> None:
    repository = await opened(store)
    for record in (await repository.records(RUNNING)).generations:
        assert await read_back(repository, record) in scene.trees


async def verified(store: Storage, scene: Scene, empty: Path) -> None:
    found = await verify(await opened(store))
    assert found.is_sound, (found.damages, found.losses)


ACTS: Mapping[str, Callable[[Storage, Scene, Path], Awaitable[None]]] = {
    act.__name__: act
    for act in (
        first_write, next_write, continued, sealed, collected, deleted, swept, restored, read,
        verified,
    )
}  # fmt: skip
