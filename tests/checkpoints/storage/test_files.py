"""Folders as stores: what only file systems do."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

import pytest

from checkpoints.storage import files
from checkpoints.storage.failures import (
    AlreadyThereError,
    NotPermittedError,
    NotThereError,
    StorageAwayError,
    StorageFullError,
    StorageUnfitError,
)
from checkpoints.storage.folder import FolderStorage

if TYPE_CHECKING:
    from pathlib import Path


def failing(code: int) -> Any:
    def fail(*args: object, **kwargs: object) -> Any:
        raise OSError(code, os.strerror(code))

    return fail


def below(path: Path) -> set[str]:
    return {str(found.relative_to(path)) for found in path.rglob("*") if found.is_file()}


async def test_the_order_is_content_name_folder(
    folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, link = os.fsync, os.link

    def note_fsync(fd: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        steps.append(f"sync {os.readlink(f'/proc/self/fd/{fd}')}" if is_folder else "sync content")
        fsync(fd)

    def note_link(source: str, name: str, **kwargs: Any) -> None:
        steps.append(f"name {name}")
        link(source, name, **kwargs)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "link", note_link)
    await folder.put_new("a/one", b"x")
    root = steps[0].removeprefix("sync ")
    assert steps == [
        f"sync {root}",
        f"sync {root}/below",
        f"sync {root}/below/here",
        "sync content",
        "name one",
        f"sync {root}/below/here/a",
    ]
    steps.clear()
    with pytest.raises(AlreadyThereError):
        await folder.put_new("a/one", b"x")
    assert steps == ["sync content", "name one", f"sync {root}/below/here/a"]


@pytest.mark.parametrize("call", ["write", "fsync", "link"])
async def test_a_creation_that_fails_leaves_no_object(
    folder: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    await folder.put_new("a/zero", b"")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing(errno.EIO))
        with pytest.raises(StorageAwayError):
            await folder.put_new("a/one", b"x")
    assert below(tmp_path) == {"below/here/a/zero"}
    await folder.put_new("a/one", b"x")


@pytest.mark.usefixtures("no_nameless_files")
async def test_without_nameless_files_nothing_is_left_and_nothing_shown(
    folder: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(fd: int) -> None:
        seen.append(below(tmp_path))

    monkeypatch.setattr(os, "fsync", look)
    await folder.put_new("a/one", b"x")
    hidden = {name for names in seen for name in names if name.endswith(files.HIDDEN_SUFFIX)}
    assert hidden, "a file is written under a name that is no key"
    assert below(tmp_path) == {"below/here/a/one"}
    # A crash leaves one: no listing shows it.
    (tmp_path / "below/here/a/.0123.part").write_bytes(b"half")
    assert [listed.key async for listed in folder.list("")] == ["a/one"]


async def test_a_link_that_happened_though_it_was_refused_is_ours(
    folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an NFS client says, which repeats a request whose answer was lost."""
    link = os.link

    def link_twice(*args: Any, **kwargs: Any) -> None:
        link(*args, **kwargs)
        link(*args, **kwargs)

    monkeypatch.setattr(os, "link", link_twice)
    await folder.put_new("a/one", b"x")
    assert await folder.get("a/one") == b"x"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (errno.ENOSPC, StorageFullError),
        (errno.EDQUOT, StorageFullError),
        (errno.EACCES, NotPermittedError),
        (errno.EROFS, NotPermittedError),
        (errno.EOPNOTSUPP, StorageUnfitError),
        (errno.EIO, StorageAwayError),
        (errno.ESTALE, StorageAwayError),
        (errno.ENOENT, StorageAwayError),
    ],
    ids=errno.errorcode.get,
)
async def test_what_the_system_says_is_translated(
    folder: FolderStorage,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    expected: type[Exception],
) -> None:
    monkeypatch.setattr(os, "link", failing(code))
    with pytest.raises(expected, match="Writing a/one"):
        await folder.put_new("a/one", b"x")


async def test_a_refused_deletion_is_reported(
    folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await folder.put_new("a/one", b"x")
    monkeypatch.setattr(os, "unlink", failing(errno.EACCES))
    with pytest.raises(NotPermittedError, match="Deleting a/one"):
        await folder.delete("a/one")


async def test_reads_and_writes_that_come_in_pieces_are_whole(
    folder: FolderStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = bytes(range(256)) * 10
    write, pread = os.write, os.pread
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:1000]))
    monkeypatch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, 700), at))
    await folder.put_new("a/one", content)
    assert await folder.get("a/one") == content
    assert await folder.get_range("a/one", 5, 2000) == content[5:2005]


async def test_what_others_put_there_is_not_shown(folder: FolderStorage, tmp_path: Path) -> None:
    await folder.put_new("a/one", b"x")
    here = tmp_path / "below/here"
    os.mkfifo(here / "a/fifo")
    (here / "a/with space").write_bytes(b"")
    os.mkdir(os.fsencode(here) + b"/a/\xff\xfe")
    (here / "a/up").symlink_to(here)
    (here / "a/nowhere").symlink_to("gone")
    listed = [listed.key async for listed in folder.list("") if "up/" not in listed.key]
    assert listed == ["a/one"]
    for key in ("a/fifo", "a/nowhere"):
        with pytest.raises(NotThereError):
            await folder.get(key)


async def test_a_deleted_work_directory_is_away_and_not_empty(tmp_path: Path) -> None:
    place = tmp_path / "work"
    place.mkdir()
    storage = FolderStorage(place, "here")
    place.rmdir()
    place.mkdir()  # as an unmounted file system leaves it: there, and empty
    for act in (storage.get("a/b"), storage.size("a/b"), storage.put_new("a/b", b"x")):
        with pytest.raises(StorageAwayError):
            await act
    with pytest.raises(StorageAwayError):
        assert [found async for found in storage.list("")]
    storage.close()
    assert below(tmp_path) == set()


async def test_folders_that_somebody_removed_are_made_again(
    folder: FolderStorage, tmp_path: Path
) -> None:
    await folder.put_new("a/b/one", b"x")
    await folder.delete("a/b/one")
    (tmp_path / "below/here/a/b").rmdir()
    with pytest.raises(StorageAwayError):
        await folder.put_new("a/b/one", b"x")
    await folder.put_new("a/b/one", b"x")


@pytest.mark.parametrize("instead", ["nothing", "another folder"])
async def test_nothing_is_said_to_be_stored_where_nobody_would_find_it(
    tmp_path: Path, instead: str
) -> None:
    work, away = tmp_path / "work", tmp_path / "away"
    work.mkdir()
    storage = FolderStorage(work, "below")
    await storage.put_new("before", b"x")
    work.rename(away)
    if instead == "another folder":
        work.mkdir()
    with pytest.raises(StorageAwayError, match="any more: move it back"):
        await storage.put_new("meanwhile", b"x")
    with pytest.raises(StorageAwayError):
        assert [found async for found in storage.list("")] == []
    assert below(away) == {"below/before"}
    if instead == "another folder":
        work.rmdir()
    away.rename(work)
    await storage.put_new("after", b"x")
    storage.close()
    assert below(work) == {"below/before", "below/after"}
