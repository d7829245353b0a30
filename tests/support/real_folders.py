"""Folders of real file systems with everything that one may hold, drawn by hypothesis."""

from __future__ import annotations

import os
import random
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.support.every_kind import ACL, CAPABILITY, MB, SECOND

if TYPE_CHECKING:
    from pathlib import Path

NAMES = (
    b"a", b"b", b"a.b", b"a-", b"A", b"\xff\xfe", b"new\nline", b" ", b"\xc3\xa4", b"n" * 255,
    b"..a", b"-rf", b"a\\b", b"*",
)  # fmt: skip
KINDS = (
    "file", "file", "file", "folder", "folder", "link", "fifo", "socket", "character", "block",
    "deletion", "other name",
)  # fmt: skip
MODES = (0o644, 0o755, 0o600, 0, 0o4755, 0o2755, 0o6711, 0o1777, 0o444)
OWNERS = ((0, 0), (1000, 1000), (0, 50), (65534, 65534), (2**31, 2**32 - 2))
TIMES = (12 * SECOND + 345, 0, 1, -5 * SECOND + 7, -1, 2**31 * SECOND, 2**33 * SECOND + 999_999_999)
FILE_ATTRIBUTES = {
    "user.note": b"\0\xff", "trusted.x": b"", "security.capability": CAPABILITY,
    "system.posix_acl_access": ACL,
}  # fmt: skip
FOLDER_ATTRIBUTES = {
    "user.note": b"hi", "system.posix_acl_default": ACL, "trusted.overlay.opaque": b"y",
}  # fmt: skip
OTHER_ATTRIBUTES = {"trusted.x": b"of what is no file"}


@dataclass(frozen=True, slots=True)
class Thing:
    """One name, and what it is; a path's folders are made where they are missing."""

    path: tuple[bytes, ...]
    kind: str
    mode: int
    owner: tuple[int, int]
    modified_ns: int
    extents: tuple[int, ...]
    """Of a file: bytes of content, and negative, of holes."""
    seed: int
    attributes: frozenset[int]


things = st.builds(
    Thing,
    path=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(tuple),
    kind=st.sampled_from(KINDS),
    mode=st.sampled_from(MODES),
    owner=st.sampled_from(OWNERS),
    modified_ns=st.sampled_from(TIMES),
    extents=st.lists(
        st.sampled_from((0, 1, 192, 193, 5000, 300_000, -65536, -3 * MB)), max_size=3
    ).map(tuple),
    seed=st.integers(0, 3),
    attributes=st.frozensets(st.integers(0, 3), max_size=2),
)
folders = st.lists(things, max_size=14)


def make(root: Path, drawn: list[Thing]) -> None:
    """Make all in an empty folder; a name that is taken is left as it is."""
    where = os.fsencode(root)
    files: list[bytes] = []
    made: list[tuple[bytes, Thing]] = []
    for thing in drawn:
        path = os.path.join(where, *thing.path)
        if os.path.lexists(path) or not _make_folders(where, thing.path[:-1]):
            continue
        if thing.kind == "other name":
            if files:
                os.link(files[thing.seed % len(files)], path, follow_symlinks=False)
            continue
        _make(path, thing)
        made.append((path, thing))
        if thing.kind not in {"folder", "deletion"}:
            files.append(path)
    for path, thing in reversed(made):  # what is in a folder, before the folder
        _give(path, thing)


def _make_folders(where: bytes, names: tuple[bytes, ...]) -> bool:
    for name in names:
        where = os.path.join(where, name)
        if not os.path.lexists(where):
            os.mkdir(where)
        elif not stat.S_ISDIR(os.lstat(where).st_mode):
            return False
    return True


def _make(path: bytes, thing: Thing) -> None:
    match thing.kind:
        case "file":
            _make_file(path, thing)
        case "folder":
            os.mkdir(path)
        case "link":
            os.symlink(NAMES[thing.seed] * (1 + 13 * thing.seed), path)
        case "fifo":
            os.mkfifo(path)
        case "socket":
            os.mknod(path, stat.S_IFSOCK)
        case "character":
            os.mknod(path, stat.S_IFCHR, os.makedev(1, 3 + thing.seed))
        case "block":
            os.mknod(path, stat.S_IFBLK, os.makedev(259, 70_000 + thing.seed))
        case "deletion":
            os.mknod(path, stat.S_IFCHR, os.makedev(0, 0))
        case _:
            raise AssertionError(thing.kind)


def _make_file(path: bytes, thing: Thing) -> None:
    rng = random.Random(thing.seed)
    with open(path, "wb") as file:
        for size in thing.extents:
            if size < 0:
                file.seek(-size, os.SEEK_CUR)
            else:
                file.write(rng.randbytes(size))
        file.truncate()


def _give(path: bytes, thing: Thing) -> None:
    if thing.kind == "deletion":
        return
    os.chown(path, *thing.owner, follow_symlinks=False)
    if thing.kind != "link":
        os.chmod(path, thing.mode)
    known = {"file": FILE_ATTRIBUTES, "folder": FOLDER_ATTRIBUTES}.get(thing.kind, OTHER_ATTRIBUTES)
    for number, (name, value) in enumerate(known.items()):
        if number in thing.attributes:
            os.setxattr(path, name, value, follow_symlinks=False)
    os.utime(path, ns=(thing.modified_ns, thing.modified_ns), follow_symlinks=False)
