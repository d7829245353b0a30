"""Random operations against a dict, with everything going wrong that may: never a wrong answer."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageAwayError
from checkpoints.storage.opening import reliable
from checkpoints.storage.storage import Range
from tests.support.faulty_store import PASSING, Cut, Fault, Faults, FaultyStore
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from checkpoints.storage.storage import Storage

KEYS = ["a", "b/one", "b/two", "b-c/one", "d/e/f"]
OPERATIONS = 150
FAULT_RATE = 0.3


class Model:
    """What must be there. Two values where an uncertain operation left both possible."""

    def __init__(self) -> None:
        self.possible: dict[str, set[bytes | None]] = {key: {None} for key in KEYS}

    def saw(self, key: str, value: bytes | None) -> None:
        assert value in self.possible[key], f"{key} is {value!r}, not of {self.possible[key]}"
        self.possible[key] = {value}


class Walk:
    """A random walk of one client over the store and the model."""

    def __init__(self, store: Storage, rng: random.Random) -> None:
        self.store = store
        self.rng = rng
        self.model = Model()

    async def step(self) -> None:
        key = self.rng.choice(KEYS)
        await self.rng.choice([self.create, self.create, self.read, self.delete, self.list])(key)

    async def create(self, key: str) -> None:
        data = self.rng.randbytes(self.rng.choice([1, 10, 300]))
        before = self.model.possible[key]
        try:
            await self.store.put_new(key, data)
        except AlreadyThereError:
            self.model.possible[key] = before - {None}
            assert self.model.possible[key], f"{key} was refused, and nothing was there"
        except StorageAwayError:
            self.model.possible[key] = before | ({data} if None in before else set())
        else:
            assert None in before, f"{key} was created twice"
            self.model.possible[key] = {data}

    async def read(self, key: str) -> None:
        try:
            data = await self.store.get(key)
            self.model.saw(key, data)
            start = self.rng.randrange(len(data))
            length = self.rng.randint(1, len(data) - start)
            assert await self.store.get_range(key, start, length) == data[start : start + length]
            assert await self.store.get_suffix(key, length) == data[-length:]
            assert await self.store.size(key) == len(data)
            ranges = [Range(start, length), Range(0, 1)]
            expected = [data[r.start : r.end] for r in ranges]
            assert list(await self.store.get_ranges(key, ranges)) == expected
        except NotThereError:
            self.model.saw(key, None)
        except StorageAwayError:
            pass

    async def delete(self, key: str) -> None:
        try:
            await self.store.delete(key)
        except StorageAwayError:
            self.model.possible[key] = self.model.possible[key] | {None}
        else:
            self.model.possible[key] = {None}

    async def list(self, key: str) -> None:
        after = self.rng.choice(["", key])
        try:
            found = {listed.key: listed.size async for listed in self.store.list("", after=after)}
        except StorageAwayError:
            return
        assert list(found) == sorted(found)
        for name in KEYS:
            if name > after:
                sizes = {None if d is None else len(d) for d in self.model.possible[name]}
                assert found.get(name) in sizes, name
            else:
                assert name not in found


@pytest.fixture(params=["memory", "folder", "bucket"])
def real(request: pytest.FixtureRequest) -> Storage:
    found: Storage = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("seed", range(8))
async def test_no_answer_is_wrong_whatever_passes(real: Storage, seed: int) -> None:
    rng = random.Random(seed)
    faulty = FaultyStore(real, Faults(rate=FAULT_RATE, rng=rng))
    walk = Walk(reliable(faulty, clock=HurriedClock(), rng=rng), rng)
    for _ in range(OPERATIONS):
        await walk.step()
    assert set(faulty.met) == set(PASSING)


@pytest.mark.parametrize("seed", range(8))
async def test_a_cut_leaves_whole_objects_or_none(real: Storage, seed: int) -> None:
    rng = random.Random(seed)
    faulty = FaultyStore(real, Faults(cut_after=rng.randrange(60)))
    walk = Walk(reliable(faulty, clock=HurriedClock(), rng=rng), rng)

    async def walk_on() -> None:
        while True:
            await walk.step()

    with pytest.raises(Cut):
        await walk_on()
    before = faulty.operations
    with pytest.raises(Cut):
        await faulty.get("a")
    assert faulty.operations == before
    survivor = Walk(real, rng)
    survivor.model = walk.model
    for key in KEYS:
        await survivor.read(key)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("real", ["memory", "folder"], indirect=True)
async def test_of_writers_that_race_with_faults_one_wins(real: Storage, seed: int) -> None:
    """Not on the bucket: moto looks, then writes, and lets two writers in between."""
    rng = random.Random(seed)
    won: list[bytes] = []

    async def create(key: str, writer: bytes) -> None:
        faulty = FaultyStore(real, Faults(rate=FAULT_RATE, rng=rng))
        try:
            await reliable(faulty, clock=HurriedClock(), rng=rng).put_new(key, writer)
        except AlreadyThereError:
            return
        won.append(writer)

    for key in KEYS:
        won.clear()
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                group.create_task(create(key, b"writer %d" % number))
        assert won == [await real.get(key)]


async def test_the_same_seed_gives_the_same_faults(memory: Storage) -> None:
    async def met() -> list[Fault]:
        rng = random.Random(7)
        faulty = FaultyStore(memory, Faults(rate=FAULT_RATE, rng=rng))
        walk = Walk(reliable(faulty, clock=HurriedClock(), rng=random.Random(1)), random.Random(2))
        for key in KEYS:
            await memory.delete(key)
        for _ in range(30):
            await walk.step()
        return faulty.met

    assert await met() == await met()
