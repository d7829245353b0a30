"""Whatever becomes of names is found: each kind of operation by itself."""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING

import pytest

from agent.volume import syscalls
from agent.volume.changes.finder import changed
from agent.volume.changes.point import point_of
from tests.agent.volume.changes.conftest import LARGE
from tests.support.file_operations import (
    EXCHANGE,
    WHITEOUT,
    make_unnamed,
    rename,
)

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.volume_line import Mounted, Rounds


async def test_new_files_and_folders_are_listed_with_their_folder(
    rounds: Rounds, upper: Path
) -> None:
    (upper / "other/new").write_bytes(b"new")
    assert await rounds.end() == {b"other", b"other/new"}
    (upper / "other/d/e").mkdir(parents=True)
    assert await rounds.end() == {b"other", b"other/d", b"other/d/e"}
    (upper / "other/l").symlink_to("x")
    os.mkfifo(upper / "other/f")
    os.mknod(upper / "other/s", stat.S_IFSOCK)
    os.mknod(upper / "other/n", stat.S_IFCHR, os.makedev(1, 3))
    names = {b"other/" + name for name in (b"l", b"f", b"s", b"n")}
    assert await rounds.end() == {b"other", *names}


async def test_a_deleted_file_is_its_folders_change(rounds: Rounds, upper: Path) -> None:
    (upper / "a/b/file").unlink()
    assert await rounds.end() == {b"a/b"}


async def test_a_deleted_folder_is_its_folders_change(rounds: Rounds, upper: Path) -> None:
    shutil.rmtree(upper / "a/b")
    assert await rounds.end() == {b"a"}


async def test_a_file_deleted_and_made_again_is_listed(rounds: Rounds, upper: Path) -> None:
    before = (upper / "large").stat()
    (upper / "large").unlink()
    (upper / "large").write_bytes(LARGE)
    os.utime(upper / "large", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await rounds.end() == {b"", b"large"}


async def test_numbers_given_again_after_a_restart_are_seen(
    volume: Mounted, rounds: Rounds, upper: Path
) -> None:
    for name in ("first", "second"):
        (upper / name).mkdir()
        (upper / name / "file").write_bytes(b"of " + name.encode())
        await rounds.end()
    number = (upper / "second").lstat().st_ino
    shutil.rmtree(upper / "second")
    volume.unmount()
    volume.mount()
    (upper / "second").mkdir()
    (upper / "second/file").write_bytes(b"another, as long")
    assert (upper / "second").lstat().st_ino == number, "or the kernel has become more careful"
    assert await rounds.end() == {b"", b"second", b"second/file"}


async def test_a_renamed_file_is_listed_with_both_folders(rounds: Rounds, upper: Path) -> None:
    (upper / "a/b/file").rename(upper / "other/moved")
    assert await rounds.end() == {b"a/b", b"other", b"other/moved"}


async def test_a_file_renamed_over_another_is_listed(rounds: Rounds, upper: Path) -> None:
    (upper / "a/b/file").rename(upper / "a/b/c/file")
    assert await rounds.end() == {b"a/b", b"a/b/c", b"a/b/c/file"}


async def test_of_a_renamed_folder_only_it_and_both_folders_are_listed(
    rounds: Rounds, upper: Path
) -> None:
    (upper / "a/b").rename(upper / "other/moved")
    assert await rounds.end() == {b"a", b"other", b"other/moved"}
    (upper / "other/moved/c/file").write_bytes(b"at its new place")
    assert await rounds.end() == {b"other/moved/c/file"}


async def test_a_folder_that_is_moved_with_what_was_written_in_it(
    rounds: Rounds, upper: Path
) -> None:
    (upper / "a/b/c/file").write_bytes(b"before it is moved")
    (upper / "a/b").rename(upper / "other/moved")
    assert await rounds.end() == {b"a", b"other", b"other/moved", b"other/moved/c/file"}


@pytest.mark.parametrize(
    ("one", "two", "listed"),
    [
        ("large", "same", {b"", b"large", b"same"}),
        ("a/b", "other", {b"", b"a", b"a/b", b"other"}),
        ("a/b", "large", {b"", b"a", b"a/b", b"large"}),
        ("a/b/c", "a/b/file", {b"a/b", b"a/b/c", b"a/b/file"}),
    ],
)
async def test_names_that_are_exchanged_are_listed(
    rounds: Rounds, upper: Path, one: str, two: str, listed: set[bytes]
) -> None:
    rename(upper / one, upper / two, EXCHANGE)
    assert await rounds.end() == listed
    rename(upper / one, upper / two, EXCHANGE)
    assert await rounds.end() == listed


async def test_new_and_removed_names_of_a_file_are_listed(rounds: Rounds, upper: Path) -> None:
    os.link(upper / "large", upper / "other/large too")
    assert await rounds.end() == {b"large", b"other", b"other/large too"}
    (upper / "large").unlink()
    assert await rounds.end() == {b"", b"other/large too"}


async def test_hundreds_of_names_in_one_folder_are_all_listed(rounds: Rounds, upper: Path) -> None:
    """They don't fit into the item that names of a folder are in."""
    names = [f"other/{number:0200d}" for number in range(400)]
    for name in names:
        os.link(upper / "large", upper / name)
    listed = {b"large", *(name.encode() for name in names)}
    assert await rounds.end() == {b"other", *listed}
    (upper / "large").chmod(0o600)
    assert await rounds.end() == listed
    for name in names[1:]:
        (upper / name).unlink()
    assert await rounds.end() == {b"other", b"large", names[0].encode()}


async def test_names_in_folders_that_nobody_touched_are_found(rounds: Rounds, upper: Path) -> None:
    """An inode's names may lie in leaves that aren't written anew with it."""
    folders = [upper / f"folder{number:04}" for number in range(600)]
    for folder in folders:
        folder.mkdir()
        os.link(upper / "large", folder / ("n" * 200))
        for number in range(5):
            (folder / f"{number}").touch()
    await rounds.end()
    (upper / "large").chmod(0o600)
    names = {os.fsencode(folder.name) + b"/" + b"n" * 200 for folder in folders}
    assert await rounds.end() == {b"large", *names}


async def test_odd_names_are_listed_as_they_are(rounds: Rounds, upper: Path) -> None:
    where = os.fsencode(upper / "other")
    names = [b"\xff\xfe", b"new\nline", b" ", b"n" * 255, "ü".encode(), b"..a", bytes(range(1, 47))]
    for name in names:
        os.mknod(os.path.join(where, name))
    assert await rounds.end() == {b"other", *(b"other/" + name for name in names)}


async def test_a_file_without_a_name_is_not_listed_until_it_has_one(
    rounds: Rounds, upper: Path
) -> None:
    fd = os.open(upper, os.O_TMPFILE | os.O_RDWR)
    os.write(fd, b"nowhere")
    assert await rounds.end() == set()
    os.close(fd)
    make_unnamed(upper, b"somewhere", upper / "other/named")
    assert await rounds.end() == {b"other", b"other/named"}


async def test_what_is_deleted_and_held_open_is_not_listed(rounds: Rounds, upper: Path) -> None:
    """The kernel takes it out of the snapshot after it was made, in a later transaction."""
    fd = os.open(upper / "large", os.O_RDWR)
    (upper / "large").unlink()
    os.write(fd, b"on and on")
    assert await rounds.end() == {b""}
    os.write(fd, b"on and on")
    (upper / "same").chmod(0o600)
    assert await rounds.end() == {b"same"}
    os.close(fd)
    assert await rounds.end() == set()


async def test_whiteouts_are_listed(rounds: Rounds, upper: Path) -> None:
    os.mknod(upper / "other/gone", stat.S_IFCHR, 0)
    assert await rounds.end() == {b"other", b"other/gone"}
    (upper / "large").unlink()
    os.mknod(upper / "large", stat.S_IFCHR, 0)
    assert await rounds.end() == {b"", b"large"}
    (upper / "large").unlink()
    (upper / "large").write_bytes(b"again")
    assert await rounds.end() == {b"", b"large"}


async def test_a_whiteout_left_by_a_rename_is_listed(rounds: Rounds, upper: Path) -> None:
    rename(upper / "large", upper / "other/large", WHITEOUT)
    assert stat.S_ISCHR((upper / "large").lstat().st_mode)
    assert await rounds.end() == {b"", b"large", b"other", b"other/large"}


async def test_what_the_overlay_keeps_for_itself_is_not_listed(
    volume: Mounted, rounds: Rounds, upper: Path
) -> None:
    (volume.work / "own").write_bytes(b"of the overlay")
    (volume.work / "folder/below").mkdir(parents=True)
    assert await rounds.end() == set()
    os.link(volume.work / "own", upper / "other/shared")
    assert await rounds.end() == {b"other", b"other/shared"}
    (volume.work / "folder").rename(upper / "from work")
    assert await rounds.end() == {b"", b"from work"}


# ── Many ─────────────────────────────────────────────────────────────────────


async def test_many_changes_fill_the_buffer_more_than_once(rounds: Rounds, upper: Path) -> None:
    names = [f"other/{number:05}{'n' * 190}" for number in range(4000)]
    for name in names:
        (upper / name).touch()
    assert await rounds.end() == {b"other", *(name.encode() for name in names)}
    for name in names[::7]:
        (upper / name).chmod(0o600)
    assert await rounds.end() == {name.encode() for name in names[::7]}


def test_what_it_costs_follows_the_change_and_not_the_volume(
    volume: Mounted, upper: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in range(60):
        (upper / f"{folder}").mkdir()
        for number in range(150):
            (upper / f"{folder}/{number}").touch()
    with volume.snapshot() as snapshot:
        since = point_of(snapshot)
    (upper / "7/7").chmod(0o600)
    found = []
    ioctl = syscalls.ioctl

    def counted(fd: int, request: int, argument: bytearray) -> int:
        result = ioctl(fd, request, argument)
        found.append(int.from_bytes(argument[64:68], "little"))
        return result

    with volume.snapshot() as snapshot:
        monkeypatch.setattr(syscalls, "ioctl", counted)
        assert set(changed(snapshot, since).paths) == {b"7/7"}
        monkeypatch.undo()
    assert len(found) < 12
    assert sum(found[2:]) < 1000, "items of one or two leaves among eight hundred"
