"""A tree that is gone over is read in few requests, and what is damaged costs no more for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.writing import ahead, compared
from checkpoints.writing.ahead import Ahead, leaves_of
from tests.support.checkpoint_rig import memory, read_back, repository, seen, writer
from tests.support.faulty_store import FaultyStore
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.tree.tree import Tree

FILES = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(FILES):
        (tmp_path / f"file{number:03d}").touch()
    return tmp_path


async def opened(found: Repository, record: Record) -> tuple[ChunkSource, Tree]:
    source = await found.chunks(record)
    return source, found.tree(record, source)


async def test_a_scan_reads_the_tree_of_before_in_few_requests(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "MARGIN_NS", -(10**15))  # what was just made is unchanged, too
    with small_nodes():
        bare = memory()
        await (await writer(await repository(bare))).write(folder)
        store = FaultyStore(bare)
        fresh = await repository(store, seed=2)
        one = await writer(fresh)
        assert one.previous is not None
        _, tree = await opened(await repository(bare), one.previous)
        leaves = await asyncio.to_thread(lambda: len(list(leaves_of(tree))))
        assert leaves > 20
        (folder / "new").touch()
        record = await one.write(folder)
        assert store.counts["get_range"] + store.counts["get_ranges"] < leaves
        before = store.counts["get_range"] + store.counts["get_ranges"]
        (folder / "newer").touch()
        record = await one.write(folder)
        assert store.counts["get_range"] + store.counts["get_ranges"] == before
        assert await read_back(fresh, record) == seen(folder)


@pytest.mark.parametrize("window_bytes", [1, 2000, 10**9])
async def test_whatever_is_asked_for_comes_in_any_order(
    folder: Path, window_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "WINDOW_BYTES", window_bytes)
    with small_nodes():
        found = await repository()
        record = await (await writer(found)).write(folder)
        fresh = await repository(found.storage, seed=2)
        source, tree = await opened(fresh, record)
        reader = Ahead(source, fresh.nodes)

        def read() -> None:
            leaves = [child.chunk_id for child in leaves_of(tree)]
            reader.expect(leaves_of(tree))
            for chunk in (*leaves, leaves[0], *reversed(leaves), *leaves[::3]):
                assert reader.fetch(chunk) == source.fetch(chunk)
            reader.close()

        await asyncio.to_thread(read)


async def test_only_the_leaf_that_is_damaged_fails(folder: Path) -> None:
    with small_nodes():
        found = await repository()
        record = await (await writer(found)).write(folder)
        fresh = await repository(found.storage, seed=2)
        source, tree = await opened(fresh, record)
        reader = Ahead(source, fresh.nodes)
        leaves = await asyncio.to_thread(lambda: [child.chunk_id for child in leaves_of(tree)])
        place = source.place(leaves[5])
        key = names.pack(place.pack.kind, place.pack.pack_id)
        data = bytearray(await found.storage.get(key))
        data[place.offset + 40] ^= 1
        await found.storage.delete(key)
        await found.storage.put_new(key, bytes(data))

        def read() -> int:
            reader.expect(leaves_of(tree))
            failed = 0
            for chunk in leaves:
                try:
                    reader.fetch(chunk)
                except DamagedError:
                    assert chunk == leaves[5]
                    failed += 1
            reader.close()
            return failed

        assert await asyncio.to_thread(read) == 1
