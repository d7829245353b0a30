"""Damage to any object is named by that object, and costs only what it holds."""

from __future__ import annotations

import random
import shutil
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading.restore import restore
from checkpoints.reading.verify import open_anyway, verify
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Memory
from common.clock import SteppingClock
from tests.support.damaged_store import Left, everything, furnish
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from checkpoints.reading.verified import Verified
    from checkpoints.repository import Repository

Objects = dict[str, bytes]

SILENT = ("tombstones/",)
"""That they are there is all they say."""


def flips(objects: Objects) -> Iterator[tuple[set[str], Objects]]:
    rng = random.Random(11)
    for key, data in objects.items():
        places = {0, 5, 20, len(data) - 1, len(data) - 60, *(rng.randrange(len(data)),) * 3}
        for at in sorted(place for place in places if 0 <= place < len(data)):
            changed = bytearray(data)
            changed[at] ^= 1 << rng.randrange(8)
            if key != names.FORMAT or _is_no_number(data, at):
                yield {key}, objects | {key: bytes(changed)}


def _is_no_number(data: bytes, at: int) -> bool:
    """Numbers of `format.json` are for writers only, and any would do."""
    return not chr(data[at]).isdigit()


def truncations(objects: Objects) -> Iterator[tuple[set[str], Objects]]:
    for key, data in objects.items():
        for size in {0, 1, len(data) // 2, len(data) - 1}:
            yield {key}, objects | {key: data[:size]}


def deletions(objects: Objects) -> Iterator[tuple[set[str], Objects]]:
    for key in objects:
        yield {key}, {other: data for other, data in objects.items() if other != key}


def swaps(objects: Objects) -> Iterator[tuple[set[str], Objects]]:
    for key in objects:
        for other in objects:
            if key < other and key.partition("/")[0] == other.partition("/")[0]:
                yield {key, other}, objects | {key: objects[other], other: objects[key]}


@pytest.mark.parametrize("change", [flips, truncations, deletions, swaps])
async def test_damage_is_named_and_costs_only_what_it_holds(
    repository: Repository, memory_folder: Path, change: object
) -> None:
    with small_nodes():
        await furnish(repository)
    objects = await everything(repository)
    before = Left(objects)
    assert not before.lost_nodes
    assert all(None not in files.values() for files in before.generations.values())
    count = 0
    restored: set[tuple[object, ...]] = set()
    assert callable(change)
    for changed, after in change(objects):
        count += 1
        left = Left(after)
        found = await _opened(after)
        verified = await verify(found)
        _is_named(changed, set(objects) - set(after), left, verified)
        _is_counted(left, verified)
        for place in left.generations:
            case = (frozenset(changed), place, place in left.lost_nodes, len(verified.losses))
            if case not in restored:
                restored.add(case)
                await _restores(found, place, left, memory_folder / "here")
    assert count > 10


async def _opened(objects: Mapping[str, bytes]) -> Repository:
    storage = await open_storage(Memory())
    for key, data in objects.items():
        await storage.put_new(key, data)
    return await open_anyway(storage, clock=SteppingClock(), rng=random.Random(1))


def _is_named(changed: set[str], gone: set[str], left: Left, verified: Verified) -> None:
    named = {damage.key for damage in verified.damages}
    if any(names.parse_record(key) for key in gone):
        assert not named  # nobody knows that there was one
    elif gone and not verified.losses:
        assert named <= changed
    elif gone and any(names.parse_moved(key) for key in gone):
        assert all(names.parse_pack(key) for key in named)  # the packs that it was in place of
    else:
        assert named == {key for key in changed if not key.startswith(SILENT)}
    assert bool(named) >= bool(verified.losses)


def _is_counted(left: Left, verified: Verified) -> None:
    """What verify says is lost is what the oracle can't read."""
    assert verified.generations == len(left.generations)
    losses = {found.place: found.named for found in verified.losses}
    for place, files in left.generations.items():
        named = losses.get(place, ())
        of_tree = [loss for loss in named if not loss.of_base]
        assert {loss.path for loss in of_tree if not loss.names} == {
            path for path, content in files.items() if content is None
        }
        assert any(loss.names for loss in of_tree) == (place in left.lost_nodes)
        if not left.bases.get(place, True):
            assert named


async def _restores(found: Repository, place: names.Place, left: Left, folder: Path) -> None:
    """Restoring gives all that the oracle can read, and nothing else."""
    record = await found.record(place)
    files = left.generations[place]
    try:
        if place not in left.lost_nodes and None not in files.values():
            done = await restore(found, record, folder)
            assert not done.damages
        else:
            with pytest.raises(DamagedError):
                await restore(found, record, folder)
            shutil.rmtree(folder, ignore_errors=True)
            if not files:  # neither index nor root: there is nothing to begin with
                return
            done = await restore(found, record, folder, keep_going=True)
            lost = {loss.path for loss in done.damages if not loss.names}
            assert lost == {path for path, content in files.items() if content is None}
            assert any(loss.names for loss in done.damages) == (place in left.lost_nodes)
        for path, content in files.items():
            here = folder / path.decode()
            assert here.exists() == (content is not None)
            if here.is_file():
                assert here.read_bytes() == content
    finally:
        shutil.rmtree(folder, ignore_errors=True)
