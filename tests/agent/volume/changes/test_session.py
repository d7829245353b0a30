"""What is done in a session comes to its volume by way of an overlay: that is found as well."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.agent.volume.changes.conftest import LARGE
from tests.support.file_operations import (
    EXCHANGE,
    KEEP_SIZE,
    PUNCH_HOLE,
    WHITEOUT,
    allocate,
    clone,
    make_unnamed,
    rename,
    rewrite_unseen,
    write_mapped,
)
from tests.support.volume_line import Rounds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.support.volume_line import Mounted

_SUBVOLUME_CREATE = 0x5000940E
_SNAPSHOT_CREATE = 0x50009417


class Session(NamedTuple):
    """What a session sees as its `/`, and what is kept of it."""

    root: Path
    upper: Path
    rounds: Rounds


@pytest.fixture
async def session(volume: Mounted) -> AsyncIterator[Session]:
    """Over an image with a few files, of which the session has changed a few."""
    volume.prepare()
    image = volume.folder / "image files"
    (image / "image/deep/deeper").mkdir(parents=True)
    (image / "image/file").write_bytes(b"of the image")
    (image / "image/large").write_bytes(LARGE)
    os.link(image / "image/file", image / "image/other name")
    (image / "image/deep/deeper/file").write_bytes(b"far below")
    try:
        with volume.overlay(image) as root:
            (root / "own/folder").mkdir(parents=True)
            (root / "own/file").write_bytes(b"of the session")
            (root / "own/large").write_bytes(LARGE)
            yield Session(root, volume.upper, await Rounds.begin(volume))
    finally:
        shutil.rmtree(image)


async def test_own_files_are_found_as_on_the_volume_itself(session: Session) -> None:
    root, upper, rounds = session
    rewrite_unseen(root / "own/large", LARGE[::-1])
    assert await rounds.end() == {b"own/large"}
    write_mapped(root / "own/large", b"mapped", 100)
    assert await rounds.end() == {b"own/large"}
    allocate(root / "own/large", 8192, 8192, PUNCH_HOLE | KEEP_SIZE)
    assert await rounds.end() == {b"own/large"}
    clone(root / "own/large", root / "own/file")
    assert await rounds.end() == {b"own/file"}
    os.link(root / "own/large", root / "own/folder/name")
    assert await rounds.end() == {b"own/large", b"own/folder", b"own/folder/name"}
    os.setxattr(root / "own/folder/name", "user.note", b"n")
    assert await rounds.end() == {b"own/large", b"own/folder/name"}
    rename(root / "own/large", root / "own/file", EXCHANGE)
    assert await rounds.end() == {b"own", b"own/large", b"own/file", b"own/folder/name"}
    make_unnamed(root / "own", b"unnamed", root / "own/named")
    assert await rounds.end() == {b"own", b"own/named"}
    (root / "own/folder").rename(root / "moved")
    assert await rounds.end() == {b"", b"own", b"moved"}
    (root / "moved/name").chmod(0o600)
    assert b"moved/name" in await rounds.end()
    assert (upper / "moved/name").stat().st_mode & 0o777 == 0o600


async def test_reading_in_the_image_changes_nothing(session: Session) -> None:
    (session.root / "image/file").read_bytes()
    os.listdir(session.root / "image/deep")
    assert await session.rounds.end() == set()


async def test_what_is_copied_up_is_listed_with_the_folders_above(session: Session) -> None:
    root, upper, rounds = session
    (root / "image/deep/deeper/file").chmod(0o600)
    above = {b"", b"image", b"image/deep", b"image/deep/deeper"}
    assert await rounds.end() == {*above, b"image/deep/deeper/file"}
    assert (upper / "image/deep/deeper/file").exists()


async def test_one_copied_up_name_of_several_in_the_image_is_listed(session: Session) -> None:
    root, _, rounds = session
    (root / "image/file").write_bytes(b"no more of the image")
    assert await rounds.end() == {b"", b"image", b"image/file"}


async def test_deletions_in_the_image_are_listed(session: Session) -> None:
    root, upper, rounds = session
    (root / "image/file").unlink()
    assert await rounds.end() == {b"", b"image", b"image/file"}
    assert stat.S_ISCHR((upper / "image/file").lstat().st_mode)
    (root / "image/file").write_bytes(b"made again")
    assert await rounds.end() == {b"image", b"image/file"}
    shutil.rmtree(root / "image")
    assert await rounds.end() == {b"", b"image"}
    assert stat.S_ISCHR((upper / "image").lstat().st_mode)


async def test_folders_of_the_image_that_are_made_again_are_listed(session: Session) -> None:
    root, upper, rounds = session
    shutil.rmtree(root / "image/deep")
    (root / "image/deep").mkdir()
    assert await rounds.end() == {b"", b"image", b"image/deep"}
    assert os.getxattr(upper / "image/deep", "trusted.overlay.opaque") == b"y"
    (root / "image/deep/new").touch()
    assert await rounds.end() == {b"image/deep", b"image/deep/new"}


async def test_folders_of_the_image_can_only_be_moved_by_copying(session: Session) -> None:
    root, _, rounds = session
    with pytest.raises(OSError) as failure:
        (root / "image/deep").rename(root / "own/deep")
    assert failure.value.errno == errno.EXDEV
    await rounds.end()
    shutil.move(root / "image/deep", root / "own/deep")
    listed = await rounds.end()
    assert {b"own", b"own/deep", b"own/deep/deeper", b"own/deep/deeper/file"} <= listed
    assert {b"image", b"image/deep"} <= listed


async def test_files_of_the_image_that_are_renamed_are_listed(session: Session) -> None:
    root, upper, rounds = session
    (root / "image/large").rename(root / "own/moved")
    listed = await rounds.end()
    assert listed >= {b"", b"image", b"image/large", b"own", b"own/moved"}
    assert stat.S_ISCHR((upper / "image/large").lstat().st_mode)


async def test_a_session_makes_neither_whiteouts_nor_subvolumes(session: Session) -> None:
    root, _, rounds = session
    with suppress(OSError):
        rename(root / "own/file", root / "own/moved", WHITEOUT)
    for path, flags in ((root / "own", os.O_DIRECTORY), (root / "own/large", 0)):
        fd = os.open(path, os.O_RDONLY | flags)
        try:
            for request in (_SUBVOLUME_CREATE, _SNAPSHOT_CREATE):
                argument = bytearray(struct.pack("=q4088s", fd, b"inner"))
                with pytest.raises(OSError) as failure:
                    fcntl.ioctl(fd, request, argument)
                assert failure.value.errno == errno.ENOTTY
        finally:
            os.close(fd)
    await rounds.end()
