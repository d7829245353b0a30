"""What is written is what was there: every kind of file, with all that belongs to it."""

from __future__ import annotations

import errno
import os
import random
import socket
import stat
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from checkpoints.tree.entry import Extents, Kind, RefusedError
from checkpoints.writing.volume import Volume
from tests.support.checkpoint_rig import GONE, read_back, repository, seen, writer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checkpoints.tree.tree import Tree
    from tests.support.checkpoint_rig import Thing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "upper"
    made.mkdir()
    return made


async def test_every_kind_of_file_comes_back_with_all_that_belongs_to_it(folder: Path) -> None:
    (folder / "empty").touch()
    (folder / "small").write_bytes(b"x" * 192)
    (folder / "one chunk").write_bytes(b"y" * 193)
    (folder / "many").write_bytes(random.Random(1).randbytes(3_000_000))
    (folder / "large").write_bytes(random.Random(2).randbytes(9_000_000))
    (folder / "setuid").write_bytes(b"#!")
    os.chown(folder / "setuid", 1234, 4321)
    (folder / "setuid").chmod(0o6755)
    os.utime(folder / "small", ns=(1, -5_000_000_001))
    os.setxattr(folder / "small", "user.note", b"\0\xff")
    os.setxattr(folder / "small", "security.capability", _capability())
    (folder / "sub" / "deep").mkdir(parents=True)
    (folder / "sub.d").mkdir()
    (folder / "sub.d" / "between").touch()
    os.link(folder / "many", folder / "sub" / "deep" / "the same")
    os.symlink(b"no\xffwhere", os.fsencode(folder / "link"))
    (folder / os.fsdecode(b"\xff\xfe" + b"n" * 250)).touch()
    os.mkfifo(folder / "fifo")
    os.mknod(folder / "device", stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.mknod(folder / "block", stat.S_IFBLK | 0o660, os.makedev(7, 200))
    os.mknod(folder / "socket", stat.S_IFSOCK | 0o755)
    written = await _written(folder)
    assert written == seen(folder)
    assert written[b"many"].names == (b"many", b"sub/deep/the same")


async def test_what_overlay_says_by_its_own_means_is_said_by_the_tree(folder: Path) -> None:
    os.mknod(folder / "deleted", stat.S_IFCHR, 0)
    (folder / "opaque").mkdir()
    os.setxattr(folder / "opaque", "trusted.overlay.opaque", b"y")
    (folder / "merged").mkdir()
    for name in ("origin", "impure", "nlink"):
        os.setxattr(folder / "merged", f"trusted.overlay.{name}", b"y")
    os.setxattr(folder / "merged", "trusted.overlay.overlay.opaque", b"theirs")
    written = await _written(folder)
    assert written[b"deleted"] == GONE
    assert written[b"opaque"].content is True
    assert written[b"opaque"].attributes == ()
    assert written[b"merged"].content is False
    assert written[b"merged"].attributes == ((b"trusted.overlay.overlay.opaque", b"theirs"),)


@pytest.mark.parametrize("name", ["redirect", "metacopy", "whiteout"])
@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_what_overlay_keeps_elsewhere_is_refused_by_name(
    folder: Path, name: str, kind: str
) -> None:
    path = folder / "moved"
    path.mkdir() if kind == "folder" else path.touch()
    os.setxattr(path, f"trusted.overlay.{name}", b"/elsewhere")
    found = await repository()
    with pytest.raises(RefusedError, match=f"moved.*{name}"):
        await (await writer(found)).write(folder)
    assert not await found.checkpoints()


async def test_holes_are_neither_read_nor_stored(folder: Path) -> None:
    with (folder / "sparse").open("wb") as file:
        file.seek(5 << 30)
        file.write(b"in the middle" * 100)
        file.truncate(10 << 30)
    with (folder / "nothing").open("wb") as file:
        file.truncate(1 << 40)
    found = await repository()
    record = await (await writer(found)).write(folder)
    assert record.added.raw_bytes < 100_000
    tree: Tree = found.tree(record, await found.chunks(record))
    for name, size in ((b"sparse", 10 << 30), (b"nothing", 1 << 40)):
        entry = tree.lookup(name) if tree.root_node.level == 0 else None
        assert entry is not None
        assert isinstance(entry.content, Extents)
        assert entry.content.size_bytes == size


async def test_the_same_bytes_are_stored_once(folder: Path) -> None:
    data = random.Random(3).randbytes(100_000)
    for number in range(600):
        (folder / f"copy {number}").write_bytes(data)
    record = await (await writer(await repository())).write(folder)
    assert record.added.raw_bytes < 200_000


async def test_what_is_mounted_inside_is_left_out_but_for_its_place(folder: Path) -> None:
    (folder / "mount").mkdir()
    (folder / "beside").touch()
    (folder / "file").touch()
    (folder.parent / "host").write_bytes(b"the host's")
    with mounted(folder / "mount"):
        (folder / "mount" / "secret").touch()
        written = await _written(folder)
    assert set(written) == {b"", b"mount", b"beside", b"file"}


def test_a_link_in_a_folders_place_leads_nowhere(folder: Path) -> None:
    (folder / "real" / "inner").mkdir(parents=True)
    (folder / "link").symlink_to("/etc")
    (folder / "inside").symlink_to("real")
    volume = Volume(folder)
    for path in (b"link", b"inside", b"inside/inner", b"../upper", b"/etc"):
        with pytest.raises(OSError, match=r"\[Errno") as caught, volume.folder(path):
            pass
        assert caught.value.errno in {errno.ELOOP, errno.EXDEV, errno.ENOTDIR}
        assert volume.listing(path) == []
    volume.close()


async def test_a_socket_that_listens_is_a_node(tmp_path: Path) -> None:
    folder = tmp_path / "s"
    folder.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "listening"))
        assert (await _written(folder))[b"listening"].kind is Kind.SOCKET


@contextmanager
def mounted(folder: Path) -> Iterator[None]:
    """Mount an empty file system there."""
    subprocess.run(["mount", "-t", "tmpfs", "none", folder], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


async def _written(folder: Path) -> dict[bytes, Thing]:
    found = await repository()
    record = await (await writer(found)).write(folder)
    return await read_back(found, record)


def _capability() -> bytes:
    """Return cap_net_raw+ep, as the kernel has it."""
    return struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
