"""What is restored is what the tree says, on real file systems; or nothing is claimed."""

from __future__ import annotations

import asyncio
import os
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading import restore as restore_module, spans as spans_module
from checkpoints.reading.failures import NotEmptyError, RestoreError
from checkpoints.reading.restore import restore
from checkpoints.tree.entry import Kind, Target
from checkpoints.tree.keys import key_of
from tests.support.every_kind import (
    ACL,
    MB,
    every_kind,
    expected,
    file,
    node,
    without_times_of_deletions,
)
from tests.support.folder_facts import allocated_bytes, look
from tests.support.packed import Packing
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.chunk_source import ChunkSource
    from checkpoints.format.ids import ChunkId
    from checkpoints.reading.progress import Progress
    from checkpoints.repository import Repository


async def test_everything_comes_back_as_it_was(repository: Repository, ground: Path) -> None:
    packing = Packing()
    entries = every_kind(packing)
    record = await packing.commit(repository, entries)
    done = await restore(repository, record, ground / "here")
    found = look(ground / "here")
    assert without_times_of_deletions(found) == without_times_of_deletions(
        expected(packing, entries)
    )
    assert done.entries == len(entries)
    assert record.tree is not None
    assert done.file_bytes == record.tree.bytes
    assert not done.damages
    assert allocated_bytes(ground / "here/holes") < 2 * MB
    assert allocated_bytes(ground / "here/only a hole") == 0


@pytest.mark.parametrize("folders_max", [0, 2, 50_000])
async def test_small_spans_and_batches_restore_the_same(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders_max: int
) -> None:
    monkeypatch.setattr(restore_module, "FOLDERS_MAX", folders_max)
    monkeypatch.setattr(spans_module, "SPAN_BYTES_MAX", 1000)
    monkeypatch.setattr(restore_module, "BATCH_PIECES", 3)
    packing = Packing()
    entries = every_kind(packing)
    record = await packing.commit(repository, entries)
    seen: list[Progress] = []
    await restore(repository, record, tmp_path / "here", report=seen.append)
    assert without_times_of_deletions(look(tmp_path / "here")) == without_times_of_deletions(
        expected(packing, entries)
    )
    assert seen == sorted(seen, key=lambda progress: progress.file_bytes)
    assert len(seen) > 10


async def test_access_rules_of_the_folder_are_not_inherited(
    repository: Repository, ground: Path
) -> None:
    os.setxattr(ground, "system.posix_acl_default", ACL)
    packing = Packing()
    entries = {b"a": file(b"1"), b"b": node(Kind.FOLDER, mode=0o700)}
    record = await packing.commit(repository, entries)
    await restore(repository, record, ground / "here")
    assert look(ground / "here") == expected(packing, entries)


async def test_nothing_is_made_below_a_link(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    target = Target(path=os.fsencode(tmp_path / "outside"))
    for number, name in enumerate((b"a/evil", b"a/deep/evil", b"a"), 1):
        packing = Packing()
        entries = {
            b"a": node(Kind.SYMBOLIC_LINK, mode=0o777, content=target),
            name + b"/file": file(packing.file(b"content")),
        }
        record = await packing.commit(repository, entries, generation=number)
        with pytest.raises(RestoreError, match="could not be"):
            await restore(repository, record, tmp_path / str(number))
    assert not os.listdir(tmp_path / "outside")


async def test_a_folder_with_something_in_it_is_refused(
    repository: Repository, tmp_path: Path
) -> None:
    packing = Packing()
    record = await packing.commit(repository, {b"a": file(b"1")})
    (tmp_path / "mine").touch()
    with pytest.raises(NotEmptyError, match="not empty"):
        await restore(repository, record, tmp_path)
    assert os.listdir(tmp_path) == ["mine"]
    await restore(repository, record, tmp_path, into_existing=True)
    assert sorted(os.listdir(tmp_path)) == ["a", "mine"]
    with pytest.raises(RestoreError, match="'a' could not be made: File exists"):
        await restore(repository, record, tmp_path, into_existing=True)


async def test_a_link_is_no_folder_to_restore_to(repository: Repository, tmp_path: Path) -> None:
    packing = Packing()
    record = await packing.commit(repository, {b"a": file(b"1")})
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    with pytest.raises(RestoreError, match="is a link: give the folder that it leads to"):
        await restore(repository, record, tmp_path / "link")
    assert not os.listdir(tmp_path / "folder")


async def test_a_damaged_chunk_costs_the_files_that_have_it(
    repository: Repository, tmp_path: Path
) -> None:
    packing = Packing()
    rng = random.Random(1)
    bad, good = rng.randbytes(5000), rng.randbytes(5000)
    entries = {
        b"bad": file(packing.file(bad)),
        b"good": file(packing.file(good)),
        b"in pieces": file(packing.file(good, bad, good)),
        b"linked": file(packing.file(b"begin", bad), inode=5, several_names=True),
        b"other name": file(packing.file(b"begin", bad), inode=5, several_names=True),
    }
    record = await packing.commit(repository, entries)
    key = await spoil(repository, bad)
    with pytest.raises(DamagedError, match=f"can't be restored: {key}"):
        await restore(repository, record, tmp_path / "all")
    done = await restore(repository, record, tmp_path / "some", keep_going=True)
    assert [loss.path for loss in done.damages] == [b"bad", b"in pieces", b"linked", b"other name"]
    assert all(key in loss.reason for loss in done.damages)
    assert look(tmp_path / "some").keys() == {b"", b"good"}


async def test_a_damaged_node_costs_its_names_and_what_is_known_of_folders(
    repository: Repository, memory_folder: Path
) -> None:
    packing = Packing()
    names_of = {b"f": node(Kind.FOLDER, mode=0o700, user=5), b"f/g": node(Kind.FOLDER, mode=0o711)}
    names_of |= {b"f/g/%02d" % number: file(b"%d" % number * 9) for number in range(40)}
    with small_nodes():
        record = await packing.commit(repository, names_of)
    assert record.tree is not None
    source = await repository.chunks(record)
    tree = repository.tree(record, source)
    root = await asyncio.to_thread(lambda: tree.root_node)
    first = root.child(0)
    key = await spoil_chunk(repository, source, first.chunk_id)
    with pytest.raises(DamagedError, match=key):
        await restore(repository, record, memory_folder / "all")
    done = await restore(repository, record, memory_folder / "some", keep_going=True)
    (lost,) = done.damages
    assert (lost.path, lost.names) == (b"", first.entries)
    assert key in lost.reason
    found = look(memory_folder / "some")
    kept = [path for path in names_of if key_of(path) >= root.child(1).key]
    assert 10 < len(kept) < len(names_of)
    assert found.keys() == {b"", b"f", b"f/g", *kept}
    assert {(found[path].mode, found[path].user) for path in (b"", b"f", b"f/g")} == {(0o755, 0)}


async def spoil_chunk(repository: Repository, source: ChunkSource, chunk: ChunkId) -> str:
    """Change a byte of a chunk, wherever it is; return its pack's name."""
    place = source.place(chunk)
    key = names.pack(place.pack.kind, place.pack.pack_id)
    data = bytearray(await repository.storage.get(key))
    data[place.offset + place.stored_bytes // 2] ^= 1
    await repository.storage.delete(key)
    await repository.storage.put_new(key, bytes(data))
    return key


async def test_a_damaged_list_of_extents_costs_its_file(
    repository: Repository, memory_folder: Path
) -> None:
    packing = Packing()
    content = packing.file(b"a" * 300, b"b" * 300, indirect=True)
    record = await packing.commit(repository, {b"a": file(content), b"b": file(b"1")})
    source = await repository.chunks(record)
    key = await spoil_chunk(repository, source, file(content).chunks()[1])
    with pytest.raises(DamagedError, match=f"'a' can't be restored: {key}"):
        await restore(repository, record, memory_folder / "all")
    done = await restore(repository, record, memory_folder / "some", keep_going=True)
    assert [loss.path for loss in done.damages] == [b"a"]
    assert look(memory_folder / "some").keys() == {b"", b"b"}


async def spoil(repository: Repository, raw: bytes) -> str:
    """Change a byte of a chunk that is stored raw; return its pack's name."""
    async for listed in repository.storage.list("packs/"):
        data = await repository.storage.get(listed.key)
        at = data.find(raw)
        if at >= 0:
            await repository.storage.delete(listed.key)
            changed = data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
            await repository.storage.put_new(listed.key, changed)
            return listed.key
    raise AssertionError


async def test_a_missing_pack_is_named(repository: Repository, tmp_path: Path) -> None:
    packing = Packing()
    record = await packing.commit(repository, {b"a": file(packing.file(b"12345"))})
    keys = [listed.key async for listed in repository.storage.list("packs/")]
    await repository.storage.delete(keys[0])
    with pytest.raises(DamagedError, match=f"'a' can't be restored: {keys[0]}"):
        await restore(repository, record, tmp_path / "here")
