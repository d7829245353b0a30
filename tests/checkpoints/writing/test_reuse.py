"""What was stored before is relied on only while it is there, and as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.damage import DamagedObjectError
from checkpoints.format.ids import CheckpointId, PackId
from checkpoints.format.pack import PackKind
from checkpoints.storage.failures import StorageError
from checkpoints.writing import reliance
from checkpoints.writing.capture import Capture
from checkpoints.writing.reliance import COMMIT_SECONDS_MAX
from checkpoints.writing.sealing import seal
from tests.support.checkpoint_rig import (
    CHECKPOINT,
    OTHER,
    Clock,
    fill,
    memory,
    read_back,
    repository,
    seen,
    write_each,
    writer,
)
from tests.support.faulty_store import FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from checkpoints.repository import Repository
    from checkpoints.storage.storage import Storage
    from checkpoints.writing.capture import Captured


async def test_packs_that_are_on_their_way_out_are_not_relied_on(tmp_path: Path) -> None:
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=True)
    await _announce_the_end_of_all_packs(found)
    record = await (await writer(found, OTHER)).write(tmp_path)
    await _delete_what_was_announced(found)
    assert await read_back(found, record) == seen(tmp_path)


async def test_packs_whose_end_is_announced_meanwhile_are_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=True)
    capture = Capture.run_in_thread
    captures = 0

    async def capture_while_packs_go(self: Capture) -> Captured:
        nonlocal captures
        captures += 1
        captured = await capture(self)
        if captures == 1:
            await _announce_the_end_of_all_packs(found)
        return captured

    monkeypatch.setattr(Capture, "run_in_thread", capture_while_packs_go)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert captures == 2
    await _delete_what_was_announced(found)
    assert await read_back(found, record) == seen(tmp_path)


@pytest.mark.parametrize("end", ["final", "sealed", "none"])
async def test_only_checkpoints_that_nobody_writes_to_any_more_are_shared(
    tmp_path: Path, end: str
) -> None:
    """A running writer deletes its packs as soon as it doesn't need them itself."""
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=end == "final")
    if end == "sealed":
        await seal(found, CHECKPOINT, run_number=2)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert (record.added.raw_bytes > 900_000) == (end == "none")
    assert await read_back(found, record) == seen(tmp_path)


async def test_many_packs_are_looked_at_by_listing_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reliance, "SINGLE_CHECKS_MAX", 0)
    bare = memory()
    store = FaultyStore(bare)
    found = await repository(store)
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=True)
    other = await writer(found, OTHER)
    record = await other.write(tmp_path)
    assert store.counts["size"] == 0
    assert record.added.chunks == 0
    [pack] = [key async for key in _packs(bare) if key.startswith("packs/")]
    await bare.delete(pack)
    third = await writer(found, CheckpointId("00000000000000c3"))
    assert (await third.write(tmp_path)).added.raw_bytes >= 900_000


async def test_a_commit_that_took_too_long_looks_again(tmp_path: Path) -> None:
    """The machine slept between the look and the record, and what was relied on is gone."""
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=True)
    other = await writer(found, OTHER)
    store = _Sleeps(found.storage)
    found.storage, found.clock = store, store.clock
    record = await other.write(tmp_path)
    assert record.generation == 2
    assert await read_back(found, record) == seen(tmp_path)


async def test_a_quick_commit_looks_once(tmp_path: Path) -> None:
    """Or the test above would not be about the time."""
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path, final=True)
    store = _Sleeps(found.storage)
    store.seconds = COMMIT_SECONDS_MAX
    found.storage, found.clock = store, store.clock
    assert (await (await writer(found, OTHER)).write(tmp_path)).generation == 1


async def test_a_writer_whose_last_record_is_gone_writes_all_anew(tmp_path: Path) -> None:
    found = await repository()
    one = await writer(found)
    fill(tmp_path, 1)
    first = await one.write(tmp_path)
    (tmp_path / "new").touch()
    async for listed in found.storage.list(""):
        if listed.key != names.FORMAT:
            await found.storage.delete(listed.key)
    record = await one.write(tmp_path, changes=[b"", b"new"])
    assert record.added.raw_bytes > 900_000
    assert record.place != first.place
    assert await read_back(await repository(found.storage), record) == seen(tmp_path)


async def test_a_damaged_list_of_moved_chunks_costs_only_what_it_holds(tmp_path: Path) -> None:
    bare = memory()
    found = await repository(bare)
    fill(tmp_path, 1)
    await bare.put_new(names.moved(PackId(bytes(16))), b"no index")
    record = await (await writer(found)).write(tmp_path)
    assert await read_back(found, record) == seen(tmp_path)
    with pytest.raises(DamagedObjectError, match="index/moved"):
        await found.moved(strict=True)


async def test_forgotten_packs_are_neither_relied_on_nor_listed(tmp_path: Path) -> None:
    found = await repository()
    one = await writer(found)
    await write_each(one, tmp_path, (1, 2))
    fill(tmp_path, 3)
    record = await one.write(tmp_path)
    listed = {pack.pack_id for i in (await found.indexes(record)).values() for pack in i.packs}
    assert listed == set(one.packs)
    first = {id_ for id_, pack in one.packs.items() if pack.generation == 1}
    one.forget(first)
    assert not first & set(one.packs)
    fill(tmp_path, 1)
    record = await one.write(tmp_path)
    assert record.added.raw_bytes > 900_000
    listed = {pack.pack_id for i in (await found.indexes(record)).values() for pack in i.packs}
    assert not first & listed
    for pack_id in first:
        for kind in PackKind:
            await found.storage.delete(names.pack(kind, pack_id))
    assert await read_back(found, record) == seen(tmp_path)
    one.forget(listed - set(one.packs))
    assert (await one.write(tmp_path, changes=[])).indexes == record.indexes


async def test_an_unchanged_folder_forgets_too(tmp_path: Path) -> None:
    found = await repository()
    one = await writer(found)
    fill(tmp_path, 1)
    await one.write(tmp_path)
    fill(tmp_path, 2)
    second = await one.write(tmp_path)
    data = [i for i, p in one.packs.items() if p.generation == 1 and p.facts.kind is PackKind.DATA]
    one.forget(data)
    third = await one.write(tmp_path, changes=[])
    assert third.tree == second.tree
    assert third.indexes != second.indexes
    assert await read_back(found, third) == seen(tmp_path)


async def test_own_packs_that_are_gone_are_not_relied_on(tmp_path: Path) -> None:
    """What was deleted generations ago may come back as it was, when its pack is no more."""
    found = await repository()
    one = await writer(found)
    fill(tmp_path, 1)
    first = await one.write(tmp_path)
    old = await found.indexes(first)
    fill(tmp_path, 2)
    await one.write(tmp_path)
    for index in old.values():
        for pack in index.packs:
            if pack.kind is PackKind.DATA:
                await found.storage.delete(names.pack(pack.kind, pack.pack_id))
    fill(tmp_path, 1)
    record = await one.write(tmp_path)
    assert await read_back(found, record) == seen(tmp_path)


async def test_a_damaged_tree_of_before_costs_one_full_write(tmp_path: Path) -> None:
    bare = memory()
    found = await repository(bare)
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path)
    async for listed in bare.list("meta/"):
        data = bytearray(await bare.get(listed.key))
        data[50] ^= 1
        await bare.delete(listed.key)
        await bare.put_new(listed.key, bytes(data))
    fresh = await repository(bare, seed=2)
    (tmp_path / "new").touch()
    record = await (await writer(fresh)).write(tmp_path, changes=[b"", b"new"])
    assert await read_back(fresh, record) == seen(tmp_path)


async def _announce_the_end_of_all_packs(found: Repository) -> None:
    async for listed in found.storage.list(""):
        if (pack := names.parse_pack(listed.key)) is not None:
            with suppress(StorageError):
                await found.storage.put_new(names.tombstone(pack[1]), b"{}")


async def _delete_what_was_announced(found: Repository) -> None:
    announced = {
        pack_id
        async for listed in found.storage.list(names.TOMBSTONES)
        if (pack_id := names.parse_tombstone(listed.key)) is not None
    }
    keys = [
        listed.key
        async for listed in found.storage.list("")
        if (pack := names.parse_pack(listed.key)) is not None and pack[1] in announced
    ]
    for key in keys:
        await found.storage.delete(key)


class _Sleeps(FaultyStore):
    """While the first record is created, time passes; if it is much, what was unused goes."""

    def __init__(self, inner: Storage) -> None:
        super().__init__(inner)
        self.clock = Clock()
        self.seconds = COMMIT_SECONDS_MAX + 1.0
        self._slept = False

    async def put_new(self, key: str, data: bytes) -> None:
        if key.startswith(names.RECORDS) and not self._slept:
            self._slept = True
            await self.clock.sleep(self.seconds)
            if self.seconds > COMMIT_SECONDS_MAX:
                async for pack in _packs(self.inner):
                    await self.inner.delete(pack)
        await super().put_new(key, data)


async def _packs(storage: Storage) -> AsyncIterator[str]:
    for key in [listed.key async for listed in storage.list("")]:
        if names.parse_pack(key) is not None:
            yield key
