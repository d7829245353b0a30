"""Whatever one answer of a store is like, what is read is right, or the failure says so."""

from __future__ import annotations

import asyncio
import io
import random
import shutil
from typing import TYPE_CHECKING

import pytest

from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import CheckpointId, Generation
from checkpoints.format.names import Place
from checkpoints.reading import export
from checkpoints.reading.content import find_file, read_content
from checkpoints.reading.export import export_layer
from checkpoints.reading.restore import restore
from checkpoints.reading.stats import Stats, measure
from checkpoints.reading.verify import verify
from checkpoints.repository import Repository
from checkpoints.storage.failures import StorageBrokenError, StorageError
from checkpoints.storage.retrying import Retrying
from tests.support.damaged_store import furnish
from tests.support.faulty_store import Fault, Faults, FaultyStore
from tests.support.folder_facts import look
from tests.support.hurried_clock import HurriedClock
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.storage.storage import Storage

    Reader = Callable[[Repository, Record, Path], Awaitable[object]]

PASSING = (Fault.ERROR_500, Fault.BUSY_503, Fault.TIMEOUT_BEFORE, Fault.TIMEOUT_AFTER)
REFUSED_MAX = 2
"""Both of `format.json`: all else is asked for again."""
OPERATIONS_MAX = 12
"""Of one reader: of more, some."""
SPOILT = (Fault.TRUNCATED, Fault.FLIPPED_BIT)
GENERATIONS = (
    Place(CheckpointId(f"{1:016x}"), Generation(1)),
    Place(CheckpointId(f"{3:016x}"), Generation(1)),
)


async def restored(repository: Repository, record: Record, folder: Path) -> object:
    try:
        await restore(repository, record, folder)
        return look(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def listed(repository: Repository, record: Record, _: Path) -> object:
    tree = repository.tree(record, await repository.chunks(record))
    return await asyncio.to_thread(
        lambda: [*tree.listing(b""), *tree.listing(b"many"), *tree.walk()]
    )


async def printed(repository: Repository, record: Record, _: Path) -> object:
    source = await repository.chunks(record)
    tree = repository.tree(record, source)
    name = b"large" if record.place == GENERATIONS[0] else b"listed"
    entry = await asyncio.to_thread(find_file, tree, name)
    return [piece async for piece in read_content(source, entry)]


async def exported(repository: Repository, record: Record, _: Path) -> object:
    output = io.BytesIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "WINDOW_PIECES", 40)
        return await export_layer(repository, record, output), output.getvalue()


async def verified(repository: Repository, _: Record, __: Path) -> object:
    found = await verify(repository)
    return found.is_sound, found.generations, found.chunks_read


async def measured(repository: Repository, _: Record, __: Path) -> object:
    return await measure(repository)


async def attempt(store: Storage, read: Reader, place: Place, folder: Path) -> object:
    """Return what was read; or a StorageError or DamagedError, as it is."""
    clock, rng = HurriedClock(), random.Random(4)
    storage = Retrying(store, clock=clock, rng=rng)
    try:
        repository = await Repository.open(storage, clock=clock, rng=rng)
        return await read(repository, await repository.record(place), folder)
    except (StorageError, DamagedError) as error:
        return error


async def faultless(
    repository: Repository, read: Reader, place: Place, folder: Path
) -> tuple[object, range]:
    """Furnish it; return what is read there, and the numbers of operations to try faults at."""
    with small_nodes():
        await furnish(repository)
    counting = FaultyStore(repository.storage)
    right = await attempt(counting, read, place, folder)
    assert not isinstance(right, Exception), right
    return right, range(0, counting.operations, 1 + counting.operations // OPERATIONS_MAX)


@pytest.mark.parametrize("place", GENERATIONS, ids=["shares", "was moved"])
@pytest.mark.parametrize("read", [restored, listed, printed, exported, verified, measured])
async def test_one_bad_answer_is_never_a_wrong_read(
    repository: Repository, memory_folder: Path, read: Reader, place: Place
) -> None:
    folder = memory_folder / "here"
    right, numbers = await faultless(repository, read, place, folder)
    refused = 0
    for number in numbers:
        for fault in (PASSING[number % len(PASSING)], *SPOILT):
            store = FaultyStore(repository.storage, Faults(script={number: fault}))
            found = await attempt(store, read, place, folder)
            if isinstance(found, (DamagedError, StorageBrokenError)):
                assert fault in SPOILT, (number, found)
                refused += 1
            else:
                assert found == right, (number, fault)
    assert refused <= REFUSED_MAX


@pytest.mark.parametrize(
    "fault", [Fault.ERROR_500, Fault.TIMEOUT_AFTER, *SPOILT, Fault.NOT_PERMITTED]
)
@pytest.mark.parametrize("read", [restored, listed, printed, exported, verified, measured])
async def test_a_store_that_stays_bad_is_never_read_wrong(
    repository: Repository, memory_folder: Path, read: Reader, fault: Fault
) -> None:
    """From some operation on, every answer is bad."""
    folder = memory_folder / "here"
    right, numbers = await faultless(repository, read, GENERATIONS[0], folder)
    for begin in numbers:
        script = dict.fromkeys(range(begin, 2000), fault)
        store = FaultyStore(repository.storage, Faults(script=script))
        found = await attempt(store, read, GENERATIONS[0], folder)
        if not isinstance(found, (DamagedError, StorageError)):
            assert found == right or says_so(found), begin


def says_so(found: object) -> bool:
    """Whether a verdict, or a statistic, says itself that not all could be read."""
    if isinstance(found, Stats):
        return any(each.problem for each in found.checkpoints)
    return isinstance(found, tuple) and found[0] is False
