"""What arrives in the store isn't what was sent, and nobody is told."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading.verify import verify
from checkpoints.storage.failures import StorageError
from checkpoints.writing.commit import FencedError
from tests.support.checkpoint_model_scene import ACTS, Scene, opened, scene
from tests.support.checkpoint_rig import read_back
from tests.support.faulty_store import Fault, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.checkpoint_model_store import SimulatedStore

CLEAR = (StorageError, DamagedError, FencedError)
UNNAMED = (names.TOMBSTONES, "probes/")
"""Only their names count."""


class Noting(FaultyStore):
    """Remembers what was sent."""

    def __init__(self, inner: SimulatedStore, faults: Faults) -> None:
        super().__init__(inner, faults)
        self.sent: dict[str, bytes] = {}
        self.numbers: list[int] = []
        """Of the operations that sent something."""

    async def put_new(self, key: str, data: bytes) -> None:
        self.numbers.append(self.operations)
        await super().put_new(key, data)
        self.sent[key] = bytes(data)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ["first_write", "next_write", "continued", "swept", "collected"])
async def test_it_is_named_and_never_read(act: str, tmp_path: Path) -> None:
    made = await scene(tmp_path)
    clean = Noting(made.store.copy(), Faults())
    await ACTS[act](clean, made, tmp_path / "empty")
    named = 0
    for number in clean.numbers:
        store = made.store.copy()
        noting = Noting(store, Faults(script={number: Fault.SPOILT_CREATION}))
        with suppress(*CLEAR):
            await ACTS[act](noting, made, tmp_path / f"empty{number}")
        there = store.objects
        spoilt = {k for k, data in noting.sent.items() if k in there and there[k].data != data}
        found = await verify(await opened(store))
        assert {each.key for each in found.damages} == {
            key for key in spoilt if not key.startswith(UNNAMED)
        }
        named += len(found.damages)
        await never_wrong(store, made)
    assert named > 1


async def never_wrong(store: SimulatedStore, made: Scene) -> None:
    repository = await opened(store)
    for checkpoint_id in await repository.checkpoints():
        for record in (await repository.records(checkpoint_id)).generations:
            with suppress(*CLEAR):
                assert await read_back(repository, record) in made.trees
