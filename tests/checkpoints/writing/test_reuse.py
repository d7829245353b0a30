"""What was stored before is relied on only while it is there, and as it was."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.format.pack import PackKind
from checkpoints.storage.failures import StorageError
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import OTHER, fill, memory, read_back, repository, seen, writer

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from checkpoints.repository import Repository


async def test_packs_that_are_on_their_way_out_are_not_relied_on(tmp_path: Path) -> None:
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path)
    await _announce_the_end_of_all_packs(found)
    record = await (await writer(found, OTHER)).write(tmp_path)
    await _delete_what_was_announced(found)
    assert await read_back(found, record) == seen(tmp_path)


async def test_packs_whose_end_is_announced_meanwhile_are_not_relied_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await repository()
    fill(tmp_path, 1)
    await (await writer(found)).write(tmp_path)
    capture = Writer._capture
    captures = 0

    async def capture_while_packs_go(self: Writer, *arguments: object) -> object:
        nonlocal captures
        captures += 1
        captured = await capture(self, *arguments)  # type: ignore[arg-type]
        if captures == 1:
            await _announce_the_end_of_all_packs(found)
        return captured

    monkeypatch.setattr(Writer, "_capture", capture_while_packs_go)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert captures == 2
    await _delete_what_was_announced(found)
    assert await read_back(found, record) == seen(tmp_path)


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
