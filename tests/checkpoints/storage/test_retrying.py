"""What passes is got over, what doesn't is said, and nobody takes his own for another's."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    NotThereError,
    StorageAwayError,
    StorageError,
    StorageFullError,
)
from checkpoints.storage.retrying import Retrying, RetryPolicy
from checkpoints.storage.storage import Range
from common.clock import SteppingClock
from tests.support.faulty_store import PASSING, Cut, Fault, Faults, FaultyStore
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from checkpoints.storage.storage import Storage

TRIES = 4


def retrying(inner: Storage, seed: int = 1) -> Retrying:
    policy = RetryPolicy(tries_max=TRIES, first_seconds=1.0, seconds_max=3.0)
    return Retrying(inner, clock=HurriedClock(), rng=random.Random(seed), policy=policy)


def scripted(inner: Storage, *faults: Fault) -> FaultyStore:
    return FaultyStore(inner, Faults(script=dict(enumerate(faults))))


@pytest.mark.parametrize("fault", PASSING)
async def test_a_creation_gets_over_what_passes(memory: Storage, fault: Fault) -> None:
    await retrying(scripted(memory, *[fault] * (TRIES - 1))).put_new("a/b", b"ours")
    assert await memory.get("a/b") == b"ours"


@pytest.mark.parametrize("fault", PASSING)
async def test_a_creation_that_another_won_is_refused(memory: Storage, fault: Fault) -> None:
    await memory.put_new("a/b", b"theirs")
    with pytest.raises(AlreadyThereError):
        await retrying(scripted(memory, fault)).put_new("a/b", b"ours")
    assert await memory.get("a/b") == b"theirs"


async def test_an_object_that_was_there_before_is_not_taken_for_ours(memory: Storage) -> None:
    """Without an uncertain try nothing is read back: equal bytes are another's all the same."""
    await memory.put_new("a/b", b"same")
    faulty = scripted(memory)
    with pytest.raises(AlreadyThereError):
        await retrying(faulty).put_new("a/b", b"same")
    assert faulty.counts == {"put_new": 1}


async def test_a_creation_whose_answers_are_all_lost_is_found_out(memory: Storage) -> None:
    class Silent(FaultyStore):
        async def put_new(self, key: str, data: bytes) -> None:
            with suppress(AlreadyThereError):
                await super().put_new(key, data)
            raise StorageAwayError("no answer", operation="put_new", key=key)

    await retrying(Silent(memory)).put_new("a/b", b"ours")
    assert await memory.get("a/b") == b"ours"


async def test_a_creation_that_nobody_knows_about_stays_uncertain(memory: Storage) -> None:
    with pytest.raises(StorageAwayError) as raised:
        await retrying(scripted(memory, *[Fault.ERROR_500] * 20)).put_new("a/b", b"x")
    assert raised.value.__notes__ == [f"tried {TRIES} times"]


async def test_reading_back_is_tried_again_too(memory: Storage) -> None:
    faults = (Fault.TIMEOUT_AFTER, Fault.EXISTS_412, Fault.BUSY_503, Fault.TIMEOUT_BEFORE)
    await retrying(scripted(memory, *faults)).put_new("a/b", b"ours")


@pytest.mark.parametrize(
    ("fault", "expected"),
    [(Fault.NOT_PERMITTED, NotPermittedError), (Fault.FULL, StorageFullError)],
)
async def test_what_does_not_pass_is_said_at_once(
    memory: Storage, fault: Fault, expected: type[StorageError]
) -> None:
    faulty = scripted(memory, fault)
    with pytest.raises(expected):
        await retrying(faulty).put_new("a/b", b"x")
    assert faulty.operations == 1


@pytest.mark.parametrize("fault", [f for f in PASSING if f is not Fault.CONFLICT_409])
async def test_everything_else_is_tried_again(memory: Storage, fault: Fault) -> None:
    await memory.put_new("a/b", b"content")

    def again() -> Retrying:
        return retrying(scripted(memory, *[fault] * (TRIES - 1)))

    assert await again().get("a/b") == b"content"
    assert await again().get_range("a/b", 1, 3) == b"ont"
    assert await again().get_suffix("a/b", 3) == b"ent"
    assert list(await again().get_ranges("a/b", [Range(0, 1)])) == [b"c"]
    assert await again().size("a/b") == 7
    with pytest.raises(NotThereError):
        await again().get("a/c")
    await again().delete("a/b")
    with pytest.raises(NotThereError):
        await memory.get("a/b")


async def test_a_listing_goes_on_where_it_broke(memory: Storage) -> None:
    keys = [f"a/{number:03d}" for number in range(40)]
    for key in keys:
        await memory.put_new(key, b"")
    # Each try yields one object more, so the tries are counted anew: more of them than TRIES.
    faulty = scripted(memory, *[Fault.TIMEOUT_AFTER] * 20)
    assert [listed.key async for listed in retrying(faulty).list("a/")] == keys
    assert faulty.counts == {"list": 21}


async def test_a_listing_that_never_begins_ends(memory: Storage) -> None:
    faulty = scripted(memory, *[Fault.BUSY_503] * 20)
    with pytest.raises(StorageAwayError):
        assert [listed async for listed in retrying(faulty).list("a/")]
    assert faulty.counts == {"list": TRIES}


async def test_a_cut_is_nothing_to_try_again(memory: Storage) -> None:
    faulty = FaultyStore(memory, Faults(cut_after=0))
    with pytest.raises(Cut):
        await retrying(faulty).put_new("a/b", b"x")


async def test_pauses_grow_and_differ_between_seeds(memory: Storage) -> None:
    async def pauses(seed: int) -> Sequence[float]:
        clock = SteppingClock()
        found: list[float] = []

        async def note(seconds: float) -> None:
            found.append(seconds)

        clock.sleep = note  # type: ignore[method-assign]
        policy = RetryPolicy(tries_max=6, first_seconds=1.0, seconds_max=4.0)
        store = scripted(memory, *[Fault.BUSY_503] * 9)
        with pytest.raises(StorageAwayError):
            await Retrying(store, clock=clock, rng=random.Random(seed), policy=policy).get("a/b")
        return found

    one, two = await pauses(1), await pauses(2)
    assert one != two
    for pause, step in zip(one, [1, 2, 4, 4, 4], strict=True):
        assert step / 2 <= pause <= step


async def test_a_cancelled_operation_is_not_tried_again(memory: Storage) -> None:
    clock = SteppingClock()
    faulty = scripted(memory, *[Fault.BUSY_503] * 9)
    store = Retrying(faulty, clock=clock, rng=random.Random(1))
    async with asyncio.TaskGroup() as group:
        task = group.create_task(store.get("a/b"))
        while not clock.sleeping:
            await asyncio.sleep(0)
        task.cancel()
    assert task.cancelled()
    assert faulty.operations == 1
