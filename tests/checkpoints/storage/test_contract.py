"""What `storage.Storage` promises, asked of every implementation."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from checkpoints.storage import files, obstore_storage
from checkpoints.storage.failures import AlreadyThereError, NotThereError, StorageBrokenError
from checkpoints.storage.storage import Range

if TYPE_CHECKING:
    from checkpoints.storage.storage import Storage

CONTENT = bytes(range(256)) * 40


async def keys(storage: Storage, prefix: str = "", *, after: str = "") -> list[str]:
    return [listed.key async for listed in storage.list(prefix, after=after)]


@pytest.mark.parametrize("data", [b"", b"x", CONTENT, bytes(9 << 20)], ids=len)
async def test_what_was_created_is_read(storage: Storage, data: bytes) -> None:
    await storage.put_new("packs/aa/one", data)
    read = await storage.get("packs/aa/one")
    assert type(read) is bytes
    assert read == data
    assert await storage.size("packs/aa/one") == len(data)


async def test_an_object_is_created_once_and_keeps_its_bytes(storage: Storage) -> None:
    await storage.put_new("a/b", b"first")
    for data in (b"second", b"first"):
        with pytest.raises(AlreadyThereError) as raised:
            await storage.put_new("a/b", data)
        assert (raised.value.operation, raised.value.key) == ("put_new", "a/b")
    assert await storage.get("a/b") == b"first"


async def test_what_is_too_long_to_be_ours_is_not_read(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (files, obstore_storage):
        monkeypatch.setattr(module, "WHOLE_BYTES_MAX", len(CONTENT))
    await storage.put_new("a/fits", CONTENT)
    await storage.put_new("a/too-long", CONTENT + b"!")
    assert await storage.get("a/fits") == CONTENT
    with pytest.raises(StorageBrokenError, match=r"a/too-long has \d+ bytes"):
        await storage.get("a/too-long")


async def test_of_many_creations_at_once_one_succeeds(storage: Storage) -> None:
    won = []

    async def create(number: int) -> None:
        try:
            await storage.put_new("checkpoints/0000000001", b"%d" % number)
        except AlreadyThereError:
            return
        won.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(12):
            group.create_task(create(number))
    assert len(won) == 1
    assert await storage.get("checkpoints/0000000001") == b"%d" % won[0]


async def test_what_is_not_there_is_named(storage: Storage) -> None:
    await storage.put_new("a/b", CONTENT)
    for key in ("a/c", "c", "a/b-", "b/a/c"):
        for act in (
            storage.get(key),
            storage.get_range(key, 0, 1),
            storage.get_suffix(key, 1),
            storage.get_ranges(key, [Range(0, 1)]),
            storage.size(key),
        ):
            with pytest.raises(NotThereError) as raised:
                await act
            assert raised.value.key == key


async def test_a_folder_of_keys_is_no_object(storage: Storage) -> None:
    await storage.put_new("a/b/c", b"x")
    for act in (storage.get("a/b"), storage.size("a")):
        with pytest.raises(NotThereError):
            await act
    await storage.delete("a/b/d")
    assert await keys(storage) == ["a/b/c"]


@pytest.mark.parametrize(("start", "length"), [(0, 1), (0, 10240), (300, 700), (10239, 1)])
async def test_a_range_is_read_exactly(storage: Storage, start: int, length: int) -> None:
    await storage.put_new("a/b", CONTENT)
    read = await storage.get_range("a/b", start, length)
    assert memoryview(read).readonly
    assert read == CONTENT[start : start + length]


@pytest.mark.parametrize(("start", "length"), [(0, 10241), (10239, 2), (10240, 1), (99999, 5)])
async def test_a_range_beyond_the_end_is_broken(storage: Storage, start: int, length: int) -> None:
    await storage.put_new("a/b", CONTENT)
    with pytest.raises(StorageBrokenError):
        await storage.get_range("a/b", start, length)
    with pytest.raises(StorageBrokenError):
        await storage.get_ranges("a/b", [Range(0, 1), Range(start, length)])


@pytest.mark.parametrize("length", [1, 64, 10239, 10240, 10241, 1 << 20])
async def test_a_suffix_is_the_end_or_everything(storage: Storage, length: int) -> None:
    await storage.put_new("a/b", CONTENT)
    assert await storage.get_suffix("a/b", length) == CONTENT[-length:]


async def test_a_suffix_of_nothing_is_nothing(storage: Storage) -> None:
    await storage.put_new("a/b", b"")
    assert await storage.get_suffix("a/b", 64) == b""


async def test_ranges_come_in_the_order_asked(storage: Storage) -> None:
    content = bytes(1 << 20) + CONTENT + bytes(3 << 20) + CONTENT
    await storage.put_new("a/b", content)
    ranges = [
        Range(len(content) - 5, 5),
        Range(1 << 20, 300),
        Range((1 << 20) + 100, 300),
        Range(0, 10),
        Range((1 << 20) + 100, 300),
    ]
    read = await storage.get_ranges("a/b", ranges)
    assert list(read) == [content[r.start : r.end] for r in ranges]
    assert all(memoryview(part).readonly for part in read)
    assert list(await storage.get_ranges("a/b", [])) == []


async def test_deleted_is_gone_and_may_be_deleted_again(storage: Storage) -> None:
    await storage.put_new("a/b", b"x")
    for _ in range(2):
        await storage.delete("a/b")
    await storage.delete("never/was")
    with pytest.raises(NotThereError):
        await storage.get("a/b")
    await storage.put_new("a/b", b"y")
    assert await storage.get("a/b") == b"y"


async def test_listings_are_in_the_order_of_keys(storage: Storage) -> None:
    created = ["a-b/c", "a/b", "a/b-c/d", "a/b.c", "a/bb/c", "a/c/d", "a0", "b/a", "B/a", "_"]
    for key in created:
        await storage.put_new(key, key.encode())
    assert await keys(storage) == sorted(created)
    assert await keys(storage, "a/") == ["a/b", "a/b-c/d", "a/b.c", "a/bb/c", "a/c/d"]
    assert await keys(storage, "a/b-c/") == ["a/b-c/d"]
    assert await keys(storage, "c/") == []


async def test_listings_go_on_after_any_name(storage: Storage) -> None:
    created = sorted(["a-b/c", "a/b", "a/b-c/d", "a/bb/c", "b"])
    for key in created:
        await storage.put_new(key, b"")
    for after in [*created, "a", "a/", "a/b-", "a/b-c/", "a/b-c/e", "a/bb", "c", "A"]:
        assert await keys(storage, after=after) == [key for key in created if key > after], after
    assert await keys(storage, "a/", after="a/b-c/d") == ["a/bb/c"]
    assert await keys(storage, "a/", after="b") == []


async def test_listings_show_sizes_and_times(storage: Storage) -> None:
    began = datetime.now(UTC)
    await storage.put_new("a/b", CONTENT)
    (listed,) = [listed async for listed in storage.list("a/")]
    assert listed.size == len(CONTENT)
    assert abs(listed.modified - began) < timedelta(minutes=5)


async def test_a_listing_has_more_objects_than_a_page(storage: Storage) -> None:
    created = [f"packs/{n % 7:02d}/{n:05d}" for n in range(1100)]  # a page has 1000
    places = asyncio.Semaphore(8)

    async def create(key: str) -> None:
        async with places:
            await storage.put_new(key, b"x")

    async with asyncio.TaskGroup() as group:
        for key in created:
            group.create_task(create(key))
    assert await keys(storage, "packs/") == sorted(created)


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a/../b", ".a", "a/.b", "a b", "ä", "a\n"])
async def test_what_is_no_key_is_a_bug(storage: Storage, key: str) -> None:
    for act in (storage.put_new(key, b""), storage.get(key), storage.delete(key)):
        with pytest.raises(AssertionError):
            await act
