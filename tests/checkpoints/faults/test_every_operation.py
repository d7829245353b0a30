"""Every storage operation of everything that is done, failing in every way.

Whatever happens ends in success, in a clear error, or after another try; what was committed can be
read whole, nothing wrong is ever read, and whoever comes next can do it.
"""

from __future__ import annotations

import itertools
import random
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import StorageError
from checkpoints.storage.opening import reliable
from tests.support.checkpoint_model_scene import ACTS, Scene, scene, verified
from tests.support.checkpoint_rig import Clock
from tests.support.faulty_store import PASSING, Fault, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.storage.storage import Storage
    from tests.support.checkpoint_model_store import SimulatedStore

CLEAR = (StorageError, DamagedError)
SPOILING = (Fault.TRUNCATED, Fault.FLIPPED_BIT)
REFUSING = (Fault.EXISTS_412, Fault.NOT_PERMITTED, Fault.FULL)
FAULTS = (*PASSING, *SPOILING, *REFUSING)
OPERATIONS_MAX = 400


@pytest.fixture
async def made(tmp_path: Path) -> Scene:
    return await scene(tmp_path)


class Trial:
    """An act, again and again on the same store, with a fault at each of its operations in turn."""

    def __init__(self, made: Scene, act: str, folder: Path) -> None:
        self.made = made
        self.act = ACTS[act]
        self.folder = folder
        self.count = 0

    async def perform(self, store: Storage) -> None:
        self.count += 1
        await self.act(store, self.made, self.folder / f"empty{self.count}")

    async def operations(self) -> int:
        """Return how many there are when nothing fails."""
        store = FaultyStore(self.made.store.copy())
        await self.perform(store)
        assert 3 < store.operations < OPERATIONS_MAX
        return store.operations

    async def check(self, store: SimulatedStore) -> None:
        """Assert that nothing is worse than before, and that the act can be performed now."""
        self.made.oracle(store)
        await self.perform(store)
        self.made.oracle(store)
        await verified(store, self.made, self.folder)


async def meet(trial: Trial, number: int, fault: Fault) -> int:
    """Perform with a fault, and nobody who tries again; return how many were met."""
    store = trial.made.store.copy()
    faulty = FaultyStore(store, Faults(script={number: fault}))
    with suppress(*CLEAR):
        await trial.perform(faulty)
    await trial.check(store)
    return len(faulty.met)


async def get_over(trial: Trial, number: int, fault: Fault) -> None:
    """Perform with a fault, and try again what failed."""
    store = trial.made.store.copy()
    faulty = FaultyStore(store, Faults(script={number: fault}))
    await trial.perform(reliable(faulty, clock=Clock(), rng=random.Random(1)))
    trial.made.oracle(store)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ACTS)
async def test_after_a_fault_all_is_whole_and_can_be_done(
    made: Scene, act: str, tmp_path: Path
) -> None:
    """At each operation one, in turn."""
    trial, faults = Trial(made, act, tmp_path), itertools.cycle(FAULTS)
    assert sum([await meet(trial, n, next(faults)) for n in range(await trial.operations())])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("act", ACTS)
async def test_what_passes_is_got_over(made: Scene, act: str, tmp_path: Path) -> None:
    trial, faults = Trial(made, act, tmp_path), itertools.cycle(PASSING)
    for number in range(await trial.operations()):
        await get_over(trial, number, next(faults))


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("act", ACTS)
async def test_after_every_fault_all_is_whole_and_can_be_done(
    made: Scene, act: str, fault: Fault, tmp_path: Path
) -> None:
    trial = Trial(made, act, tmp_path)
    for number in range(await trial.operations()):
        await meet(trial, number, fault)
        if fault in PASSING:
            await get_over(trial, number, fault)


@pytest.mark.parametrize("act", ACTS)
async def test_who_may_delete_nothing_damages_nothing(
    made: Scene, act: str, tmp_path: Path
) -> None:
    trial = Trial(made, act, tmp_path)
    store = made.store.copy()
    with suppress(*CLEAR):
        await trial.perform(FaultyStore(store, Faults(may_delete=False)))
    await trial.check(store)


@pytest.mark.parametrize("days", [-400, 2])
@pytest.mark.parametrize("act", ACTS)
async def test_a_stores_clock_that_is_wrong_costs_nothing(
    made: Scene, act: str, days: int, tmp_path: Path
) -> None:
    """All of it is by the same clock, so only what was there before looks young or old."""
    trial = Trial(made, act, tmp_path)
    store = made.store.copy()
    await trial.perform(FaultyStore(store, Faults(clock_skew=timedelta(days=days))))
    await trial.check(store)
