"""A run that continues a checkpoint keeps what it needs from its first generation on."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.pack import PackKind
from checkpoints.reading.restore import restore
from checkpoints.writing.reliance import ParentBusyError, ParentGoneError
from checkpoints.writing.sealing import seal
from checkpoints.writing.volume import Volume
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    GONE,
    OTHER,
    fill,
    memory,
    read_back,
    repository,
    seen,
    writer,
)
from tests.support.faulty_store import Cut, Faults, FaultyStore

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.repository import Repository

OPERATIONS = range(30)
"""More than opening a writer and a write have."""


async def continuing(found: Repository, parent: Record | None) -> Writer:
    return await Writer.open(found, OTHER, run_number=2, parent=parent)


@pytest.fixture
def lower(tmp_path: Path) -> Path:
    (folder := tmp_path / "lower").mkdir()
    fill(folder, 1)
    (folder / "sub").mkdir()
    (folder / "sub" / "deep").write_bytes(b"in the base")
    return folder


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    (folder := tmp_path / "upper").mkdir()
    return folder


async def test_the_first_generation_is_what_is_continued_and_stores_nothing(lower: Path) -> None:
    store = FaultyStore(memory())
    found = await repository(store)
    parent = await (await writer(found)).write(lower, final=True)
    before = store.counts["put_new"]
    record = (await continuing(found, parent)).previous
    assert record is not None
    assert store.counts["put_new"] == before + 1
    assert record.tree == record.base == parent.tree
    assert record.indexes == parent.indexes
    assert record.volume == parent.volume + 1
    assert record.parent is not None
    assert record.parent.place == parent.place
    assert (await continuing(found, parent)).previous == record


async def test_the_number_of_volumes_starts_again_after_the_last(lower: Path, upper: Path) -> None:
    found = await repository()
    one = await writer(found)
    one._volume = 0xFFFF
    parent = await one.write(lower, final=True)
    two = await continuing(found, parent)
    (upper / "new").write_bytes(b"x")
    record = await two.write(upper)
    assert record.volume == 0
    assert set(await read_back(found, record)) == {*seen(lower), b"new"}


@pytest.mark.parametrize("end", ["sealed", "final", "none"])
async def test_only_what_nobody_writes_to_any_more_can_be_continued(lower: Path, end: str) -> None:
    found = await repository()
    one = await writer(found)
    parent = await one.write(lower, final=end == "final")
    if end == "sealed":
        await seal(found, CHECKPOINT, run_number=2)
    if end == "none":
        with pytest.raises(ParentBusyError, match="stop its session"):
            await continuing(found, parent)
        assert not await found.places(OTHER)
    else:
        assert (await continuing(found, parent)).previous is not None


@pytest.mark.parametrize("operation", range(12))
async def test_a_parent_that_goes_meanwhile_is_noticed(lower: Path, operation: int) -> None:
    """After each operation in turn: either it can't be continued, or it needn't be there."""
    bare = memory()
    parent = await (await writer(await repository(bare))).write(lower, final=True)
    store = FaultyStore(bare)
    found = await repository(store, seed=5)
    store.faults = Faults(cut_after=store.operations + operation)
    with suppress(Cut):
        await continuing(found, parent)
    found_again = await repository(bare, seed=3)
    await seal(found_again, CHECKPOINT, run_number=3)
    await bare.delete(names.record(parent.place))
    committed = (await found_again.records(OTHER)).newest
    if committed is None:
        with pytest.raises(ParentGoneError, match="another checkpoint"):
            await continuing(found_again, parent)
        assert not await found_again.places(OTHER)
    else:
        two = await continuing(found_again, parent)
        assert two.previous == committed


async def test_a_parent_that_goes_while_it_is_continued_is_noticed(lower: Path) -> None:
    """Between the look and the first record: whether a collection saw either, nobody knows."""
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    found.storage = _DeletesTheParent(found.storage)
    with pytest.raises(ParentGoneError):
        await continuing(found, parent)


class _DeletesTheParent(FaultyStore):
    async def put_new(self, key: str, data: bytes) -> None:
        if key.startswith(names.records_of(OTHER)):
            async for listed in self.inner.list(names.records_of(CHECKPOINT)):
                await self.inner.delete(listed.key)
        await super().put_new(key, data)


async def test_a_run_doesnt_need_its_parent_any_more(lower: Path, upper: Path) -> None:
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    two = await continuing(found, parent)
    await found.storage.delete(names.record(parent.place))
    (upper / "new").write_bytes(b"x" * 1000)
    record = await two.write(upper)
    things = await read_back(found, record)
    assert things.keys() == {*seen(lower), b"new"}
    assert things[b"sub/deep"] == seen(lower)[b"sub/deep"]


async def test_a_run_whose_own_records_are_gone_says_so(lower: Path, upper: Path) -> None:
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    two = await continuing(found, parent)
    assert two.previous is not None
    await found.storage.delete(names.record(two.previous.place))
    with pytest.raises(ParentGoneError):
        await two.write(upper)


@pytest.mark.parametrize("operations", OPERATIONS)
async def test_a_run_that_ends_anywhere_leaves_the_old_or_the_new(
    lower: Path, upper: Path, operations: int
) -> None:
    bare = memory()
    parent = await (await writer(await repository(bare))).write(lower, final=True)
    store = FaultyStore(bare)
    found = await repository(store, seed=5)
    fill(upper, 2)
    store.faults = Faults(cut_after=store.operations + operations)
    with suppress(Cut):
        await (await continuing(found, parent)).write(upper, changes=[b"", b"file0"])
    fresh = await repository(bare, seed=2)
    committed = (await fresh.records(OTHER)).newest
    merged = seen(lower) | seen(upper)
    if committed is not None:
        expected = seen(lower) if committed.tree == parent.tree else merged
        assert await read_back(fresh, committed) == expected
    record = await (await continuing(fresh, parent)).write(upper)
    assert await read_back(fresh, record) == merged


async def test_a_cut_can_be_before_and_after_each_commit(lower: Path, upper: Path) -> None:
    """Or the test above would not be about both."""
    bare = memory()
    parent = await (await writer(await repository(bare))).write(lower, final=True)
    store = FaultyStore(bare)
    found = await repository(store, seed=5)
    before = store.operations
    fill(upper, 2)
    await (await continuing(found, parent)).write(upper)
    assert store.operations - before < max(OPERATIONS)


async def test_a_damaged_tree_of_before_is_put_together_from_base_and_volume(
    lower: Path, upper: Path
) -> None:
    bare = memory()
    found = await repository(bare)
    parent = await (await writer(found)).write(lower, final=True)
    packs = {listed.key async for listed in bare.list("meta/")}
    two = await continuing(found, parent)
    fill(upper, 2)
    await two.write(upper)
    for key in {listed.key async for listed in bare.list("meta/")} - packs:
        data = bytearray(await bare.get(key))
        data[50] ^= 1
        await bare.delete(key)
        await bare.put_new(key, bytes(data))
    fresh = await repository(bare, seed=2)
    (upper / "new").touch()
    record = await (await continuing(fresh, None)).write(upper, changes=[b"", b"new"])
    assert await read_back(fresh, record) == seen(lower) | seen(upper)


async def test_a_folder_that_becomes_opaque_hides_what_lies_deeper(
    lower: Path, upper: Path
) -> None:
    """Though the volume has all names of the base in the folder itself, as folders."""
    (lower / "a" / "b").mkdir(parents=True)
    (lower / "a" / "b" / "hidden").touch()
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    two = await continuing(found, parent)
    (upper / "a" / "b").mkdir(parents=True)
    assert b"a/b/hidden" in await read_back(found, await two.write(upper))
    os.setxattr(upper / "a", "trusted.overlay.opaque", b"y")
    assert b"a/b/hidden" not in await read_back(found, await two.write(upper, changes=[b"a"]))
    os.removexattr(upper / "a", "trusted.overlay.opaque")
    assert b"a/b/hidden" in await read_back(found, await two.write(upper))


async def test_restoring_a_run_gives_base_and_volume_as_one(
    lower: Path, upper: Path, tmp_path: Path
) -> None:
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    (upper / "sub").mkdir()
    (upper / "sub" / "own").write_bytes(b"own")
    record = await (await continuing(found, parent)).write(upper)
    await restore(found, record, tmp_path / "restored")
    assert seen(tmp_path / "restored") == seen(lower) | seen(upper)


async def test_what_vanishes_from_the_volume_while_it_is_read_shows_the_base_again(
    lower: Path, upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, or one generation later: until then it looks deleted, as it mostly is."""
    (lower / "folder").mkdir()
    (lower / "folder" / "inside").write_bytes(b"the base's")
    found = await repository()
    parent = await (await writer(found)).write(lower, final=True)
    two = await continuing(found, parent)
    fill(upper, 2)
    (upper / "folder").mkdir()
    (upper / "folder" / "own").touch()
    (upper / "new").touch()
    listing = Volume.listing

    def listing_then_gone(self: Volume, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        names_there = listing(self, path)
        if path == b"folder" and (upper / "folder").exists():
            (upper / "folder" / "own").unlink()
            (upper / "folder").rmdir()
            for name in ("file0", "file1", "new"):
                (upper / name).unlink()
        return names_there

    monkeypatch.setattr(Volume, "listing", listing_then_gone)
    things = await read_back(found, await two.write(upper))
    assert things[b"file0"] == things[b"file1"] == things[b"folder"] == things[b"new"] == GONE
    assert not any(path.startswith(b"folder/") for path in things)
    things = await read_back(found, await two.write(upper))
    assert things == seen(lower) | seen(upper)


@pytest.mark.parametrize("operations", range(14))
async def test_forgetting_may_be_cut_off_anywhere(
    lower: Path, upper: Path, operations: int
) -> None:
    bare = memory()
    parent = await (await writer(await repository(bare))).write(lower, final=True)
    store = FaultyStore(bare)
    found = await repository(store, seed=5)
    two = await continuing(found, parent)
    fill(upper, 2)
    await two.write(upper)
    fill(upper, 3)
    old = seen(lower) | seen(upper)
    await two.write(upper)
    first = {
        pack_id
        for pack_id, pack in two.packs.items()
        if pack.generation == 2 and pack.facts.kind is PackKind.DATA
    }
    assert first
    two.forget(first)
    fill(upper, 4)
    store.faults = Faults(cut_after=store.operations + operations)
    with suppress(Cut):
        await two.write(upper)
    for pack_id in first:
        await bare.delete(names.pack(PackKind.DATA, pack_id))
    fresh = await repository(bare, seed=6)
    committed = (await fresh.records(OTHER)).newest
    assert committed is not None
    expected = old if committed.generation == 3 else seen(lower) | seen(upper)
    assert await read_back(fresh, committed) == expected
    record = await (await continuing(fresh, None)).write(upper)
    assert await read_back(fresh, record) == seen(lower) | seen(upper)
