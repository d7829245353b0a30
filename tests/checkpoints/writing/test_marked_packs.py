"""What is known to be damaged isn't relied on again: not by others, not by whoever wrote it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from checkpoints.format import mark, names
from checkpoints.format.pack import PackKind
from checkpoints.writing.capture import Capture
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import (
    OTHER,
    fill,
    read_back,
    repository,
    seen,
    writer,
)
from tests.support.damaged_store import damage, move

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.format.ids import PackId
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from checkpoints.writing.capture import Captured

KINDS = pytest.mark.parametrize("kind", PackKind)


@KINDS
async def test_a_write_of_the_same_folder_stores_anew_what_is_in_a_marked_pack(
    tmp_path: Path, kind: PackKind
) -> None:
    found = await repository()
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    await spoil(found, first, kind)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert await read_back(found, record) == seen(tmp_path)
    assert record.added.chunks


@KINDS
@pytest.mark.parametrize("is_restarted", [False, True])
async def test_a_run_that_goes_on_is_whole_again_with_its_next_generation(
    tmp_path: Path, kind: PackKind, is_restarted: bool
) -> None:
    """Although nothing has changed, and nobody would have looked at any file."""
    found = await repository()
    fill(tmp_path, 1)
    one = await writer(found)
    first = await one.write(tmp_path)
    damaged = await spoil(found, first, kind)
    fresh = await repository(found.storage, seed=2) if is_restarted else found
    one = await writer(fresh) if is_restarted else one
    record = await one.write(tmp_path, changes=[])
    assert damaged not in await packs_of(fresh, record)
    reader = await repository(found.storage, seed=3)
    assert await read_back(reader, record) == seen(tmp_path)


async def test_what_was_written_whole_again_is_not_read_a_third_time(tmp_path: Path) -> None:
    found = await repository()
    fill(tmp_path, 1)
    one = await writer(found)
    await spoil(found, await one.write(tmp_path), PackKind.DATA)
    healed = await one.write(tmp_path, changes=[])
    (tmp_path / "file0").unlink()  # of which nobody hears
    assert (await one.write(tmp_path, changes=[])).tree == healed.tree


async def test_a_pack_of_a_collection_counts_as_the_checkpoints_that_need_it(
    tmp_path: Path,
) -> None:
    """The checkpoint's own index says where the chunk was, and a moved one where it is now."""
    found = await repository()
    fill(tmp_path, 1)
    one = await writer(found)
    first = await one.write(tmp_path)
    await move(found, (tmp_path / "file0").read_bytes()[:1000])
    (index,) = await found.moved()
    (pack,) = index.packs
    assert pack.pack_id not in await packs_of(found, first)
    await damage(found.storage, names.pack(pack.kind, pack.pack_id))
    await found.storage.put_new(names.mark(pack.pack_id), mark.encode([]))
    record = await one.write(tmp_path, changes=[])
    reader = await repository(found.storage, seed=3)
    assert await read_back(reader, record) == seen(tmp_path)


async def test_a_mark_that_comes_while_a_write_is_under_way_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await repository()
    fill(tmp_path, 1)
    first = await (await writer(found)).write(tmp_path, final=True)
    capture = Capture.run_in_thread
    captures = 0

    async def capture_while_damage_is_found(self: Capture) -> Captured:
        nonlocal captures
        captures += 1
        captured = await capture(self)
        if captures == 1:
            await spoil(found, first, PackKind.DATA)
        return captured

    monkeypatch.setattr(Capture, "run_in_thread", capture_while_damage_is_found)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert captures == 2
    assert await read_back(found, record) == seen(tmp_path)


async def test_of_a_base_what_is_whole_in_a_marked_pack_stays_needed(tmp_path: Path) -> None:
    """It can't be had anew, so indexes go on listing it; what the volume has is stored anew."""
    below, above = tmp_path / "below", tmp_path / "above"
    for folder in (below, above):
        folder.mkdir()
    fill(below, 1)
    found = await repository()
    parent = await (await writer(found)).write(below, final=True)
    damaged = await spoil(found, parent, PackKind.DATA)  # the first chunk of the first file
    one = await Writer.open(found, OTHER, run_number=2, parent=parent)
    (above / "file0").write_bytes((below / "file0").read_bytes())
    record = await one.write(above)
    again = await one.write(above)
    (above / "new").touch()  # of which nobody hears
    assert (await one.write(above, changes=[])).tree == again.tree
    for each in (record, again):
        assert damaged in await packs_of(found, each)
        there = await read_back(await repository(found.storage, seed=3), each)
        assert {path: thing.content for path, thing in there.items()} == {
            path: thing.content for path, thing in seen(below).items()
        }


async def spoil(found: Repository, record: Record, kind: PackKind) -> PackId:
    """Damage a pack that a generation has of a kind, and mark it."""
    pack = next(
        pack
        for index in (await found.indexes(record)).values()
        for pack in index.packs
        if pack.kind is kind
    )
    await damage(found.storage, names.pack(kind, pack.pack_id))
    await found.storage.put_new(names.mark(pack.pack_id), mark.encode([]))
    return pack.pack_id


async def packs_of(found: Repository, record: Record) -> set[PackId]:
    return {pack.pack_id for i in (await found.indexes(record)).values() for pack in i.packs}
