"""A server that overwrites and ignores ranges: good enough for a single writer."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import obstore
import pytest

from checkpoints.reading.restore import restore
from checkpoints.repository import Repository
from checkpoints.storage.failures import (
    NotThereError,
    StorageBrokenError,
    StorageUnfitError,
)
from checkpoints.storage.obstore_storage import ObstoreStorage
from checkpoints.storage.probe import Abilities, probe
from checkpoints.storage.storage import Range
from tests.support.checkpoint_rig import writer
from tests.support.hurried_clock import HurriedClock
from tests.support.s3_servers import open_bucket, rclone_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    folder = tmp_path_factory.mktemp("rclone")
    with rclone_server(folder) as url:
        yield url, folder


async def test_a_store_that_overwrites_is_refused(rclone: tuple[str, Path]) -> None:
    storage = await open_bucket(rclone[0], path="refused")
    with pytest.raises(StorageUnfitError, match=r"conditional writes.*single writer"):
        await probe(storage)
    assert [found async for found in storage.list("")] == []


async def test_it_serves_a_single_writer(rclone: tuple[str, Path]) -> None:
    storage = await open_bucket(rclone[0], path="single")
    assert await probe(storage, single_writer=True) == Abilities(
        creates_if_absent=False, deletes=True
    )
    assert isinstance(storage, ObstoreStorage)
    assert not storage.has_ranges
    content = random.Random(1).randbytes(3 << 20)
    await storage.put_new("packs/aa/one", content)
    await storage.put_new("packs/ab/two", b"")
    assert await storage.get("packs/aa/one") == content
    assert await storage.get_range("packs/aa/one", 1 << 20, 1000) == content[1 << 20 :][:1000]
    assert await storage.get_suffix("packs/aa/one", 64) == content[-64:]
    assert await storage.get_suffix("packs/ab/two", 64) == b""
    ranges = [Range(2 << 20, 7), Range(3, 4)]
    assert list(await storage.get_ranges("packs/aa/one", ranges)) == [
        content[r.start : r.end] for r in ranges
    ]
    with pytest.raises(StorageBrokenError):
        await storage.get_range("packs/aa/one", 3 << 20, 1)
    assert await storage.size("packs/aa/one") == 3 << 20
    listed = [found.key async for found in storage.list("packs/", after="packs/aa/one")]
    assert listed == ["packs/ab/two"]
    await storage.delete("packs/aa/one")
    await storage.delete("packs/aa/one")
    with pytest.raises(NotThereError):
        await storage.get("packs/aa/one")


async def test_reading_there_costs_each_pack_once_or_twice(
    rclone: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though it is asked for many nodes of a tree and many chunks, and gives only whole packs."""
    source = tmp_path / "source"
    fill(source)

    async def repository() -> Repository:
        return await Repository.open(
            await open_bucket(rclone[0], path="packs"),
            create=True,
            single_writer=True,
            clock=HurriedClock(),
            rng=random.Random(1),
        )

    record = await (await writer(await repository())).write(source)
    reads = Counter[str]()
    get = obstore.get_async

    def count(store: Any, path: str, **kwargs: Any) -> Any:
        reads[path] += 1
        return get(store, path, **kwargs)

    monkeypatch.setattr(obstore, "get_async", count)
    found = await repository()
    tree = found.tree(record, await found.chunks(record))
    reads.clear()
    assert await asyncio.to_thread(lambda: sum(1 for _ in tree.walk())) == FILES + 1
    (nodes,) = reads
    assert reads[nodes] <= 3, "the first one learns that there are no ranges"

    await restore(found, record, tmp_path / "restored")
    assert len(reads) > 3
    assert max(reads.values()) <= 3
    assert max(times for key, times in reads.items() if key.startswith("packs/")) <= 2


FILES = 1500


def fill(folder: Path) -> None:
    """Make a tree of many nodes, and content of several packs."""
    folder.mkdir()
    rng = random.Random(1)
    for number in range(FILES):
        size = 1 << 20 if number % 75 == 0 else 100
        (folder / f"file{number}").write_bytes(rng.randbytes(size))
