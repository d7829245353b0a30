"""However a generation is found, it is the tree that would be written from nothing."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from checkpoints.tree.keys import path_of
from checkpoints.writing.compared import MARGIN_NS, compared
from checkpoints.writing.difference import Differences
from checkpoints.writing.volume import Volume
from tests.support.checkpoint_rig import OTHER, read_back, repository, seen, writer
from tests.support.growing_folder import GrowingFolder
from tests.support.long_paths import LEVELS_SAVED, NAME, make_deep
from tests.support.trees import small_nodes

if TYPE_CHECKING:
    from pathlib import Path

CHANGES_BETWEEN = 12


@pytest.mark.parametrize("seed", range(12))
async def test_changes_of_all_kinds_come_to_the_same_tree_either_way(
    tmp_path: Path, seed: int
) -> None:
    rng = random.Random(seed)
    folder = GrowingFolder(tmp_path, rng)
    with small_nodes():
        listed, compared = await repository(), await repository()
        by_list, by_comparing = await writer(listed), await writer(compared)
        for _ in range(60):
            folder.change()
        for _ in range(8):
            history = [folder.change() for _ in range(CHANGES_BETWEEN)]
            first = await by_list.write(tmp_path, changes=folder.touched)
            second = await by_comparing.write(tmp_path)
            anew = await (await writer(await repository())).write(tmp_path)
            assert first.tree == second.tree == anew.tree, history
            folder.touched.clear()
        assert by_list.previous is not None
        assert await read_back(listed, by_list.previous) == seen(tmp_path)


async def test_an_unchanged_folder_stores_nothing_but_a_record(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    found = await repository()
    one = await writer(found)
    first = await one.write(tmp_path)
    for second in (await one.write(tmp_path, changes=[]), await one.write(tmp_path)):
        assert second.tree == first.tree
        assert second.indexes == first.indexes
        assert second.added.stored_bytes == 0


async def test_what_was_touched_after_the_last_capture_began_is_read_again(tmp_path: Path) -> None:
    """Same inode, size and time: only the inode's own time tells, and only if it is asked."""
    (tmp_path / "file").write_bytes(b"before")
    while _touched_ns(tmp_path) >= _touched_ns(tmp_path / "file"):  # the kernel's clock is coarse
        (tmp_path / "file").write_bytes(b"before")
    found = await repository()
    record = await (await writer(found)).write(tmp_path)
    tree = found.tree(record, await found.chunks(record))
    volume = Volume(tmp_path)
    margin = MARGIN_NS
    for since_ns, expected in (
        (_touched_ns(tmp_path / "file"), [b"", b"file"]),
        (_touched_ns(tmp_path / "file") + margin, [b"file"]),
        (_touched_ns(tmp_path / "file") + margin + 1, []),
    ):
        items = compared(Differences(volume, tree, None), since_ns)
        paths = [path_of(key) for key, _ in items]
        assert paths == expected
    volume.close()


def _touched_ns(path: Path) -> int:
    return path.lstat().st_ctime_ns


async def test_files_that_go_while_they_are_read_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        (tmp_path / f"file{number}").write_bytes(b"x" * 500)
        (tmp_path / f"folder{number}").mkdir()
    (tmp_path / "large").write_bytes(bytes(5_000_000))
    listing = Volume.listing

    def listing_then_gone(self: Volume, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        found = listing(self, path)
        if not path:
            (tmp_path / "large").unlink(missing_ok=True)
            for number in range(5):
                (tmp_path / f"file{number}").unlink(missing_ok=True)
                if (tmp_path / f"folder{number}").exists():
                    (tmp_path / f"folder{number}").rmdir()
        return found

    monkeypatch.setattr(Volume, "listing", listing_then_gone)
    found = await repository()
    written = await read_back(found, await (await writer(found)).write(tmp_path))
    names = {f"{kind}{number}".encode() for kind in ("file", "folder") for number in range(5, 10)}
    assert set(written) == {b"", *names}


async def test_a_new_checkpoint_stores_nothing_that_an_ended_one_has(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(random.Random(1).randbytes(1_000_000))
    found = await repository()
    await (await writer(found)).write(tmp_path, final=True)
    (tmp_path / "own").write_bytes(b"y" * 1000)
    record = await (await writer(found, OTHER)).write(tmp_path)
    assert record.added.raw_bytes < 3000
    assert [field.checkpoint_id for field in record.indexes] == [OTHER]
    assert await read_back(found, record) == seen(tmp_path)


async def test_many_generations_need_few_indexes(tmp_path: Path) -> None:
    found = await repository()
    one = await writer(found)
    record = await one.write(tmp_path)
    for number in range(50):
        (tmp_path / f"file{number}").write_bytes(random.Random(number).randbytes(500))
        record = await one.write(tmp_path, changes=[b"", f"file{number}".encode()])
        assert len(record.indexes) <= 16
    assert await read_back(found, record) == seen(tmp_path)


async def test_what_no_path_leads_to_is_left_out_and_counted(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    (top / "other").touch()
    found = await repository()
    one = await writer(found)
    make_deep(top, levels=LEVELS_SAVED - 1)
    first = await one.write(top)
    assert first.tree is not None
    assert (first.tree.entries, first.too_long) == (LEVELS_SAVED + 2, 0)

    os.rename(top / NAME, tmp_path / "deep")  # one level more, twice
    (top / NAME).mkdir()
    os.rename(tmp_path / "deep", top / NAME / NAME)
    second = await one.write(top, changes=[b"", NAME.encode()])
    assert second.too_long == 0
    os.rename(top / NAME, tmp_path / "deep")
    (top / NAME).mkdir()
    os.rename(tmp_path / "deep", top / NAME / NAME)
    third = await one.write(top, changes=[b"", NAME.encode()])
    assert third.tree is not None
    assert (third.tree.entries, third.too_long) == (LEVELS_SAVED + 2, 1)
    again = await (await writer(await repository())).write(top)
    assert (again.tree, again.too_long) == (third.tree, 1)

    (top / "other").write_bytes(b"changed")
    fourth = await one.write(top, changes=[b"other"])
    assert fourth.too_long == 1, "still"
    os.rename(top / NAME / NAME, tmp_path / "deep")
    os.rename(tmp_path / "deep", top / "n")
    fifth = await one.write(top, changes=[b"", NAME.encode()])
    assert fifth.too_long == 0
    assert await read_back(found, fifth) == seen(top)
