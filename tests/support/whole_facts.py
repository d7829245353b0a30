"""The oracle of change finders: all that can be told of a folder's files, before and after.

Two looks are compared path by path. What differs must be listed, as a writer of checkpoints
expects it: a path itself; or, if its name or one above stands for something else than before, the
folder that this name is in.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path


class Whole(NamedTuple):
    """Of one path."""

    inode: int
    kind: int
    status: tuple[int, ...]
    """Mode, owner, links, size, device and times, but for that of the last access."""
    attributes: tuple[tuple[str, bytes], ...]
    content: bytes


Facts = dict[bytes, Whole]


def look(folder: Path) -> Facts:
    """Return facts by path; the folder's own path is empty."""
    root = os.fsencode(folder)
    paths = [b""]
    for where, folders, files in os.walk(root):
        base = where[len(root) + 1 :]
        paths += [os.path.join(base, name) for name in (*folders, *files)]
    return {path: _whole(os.path.join(root, path) if path else root) for path in paths}


def _whole(where: bytes) -> Whole:
    status = os.lstat(where)
    kind = stat.S_IFMT(status.st_mode)
    content = b""
    if kind == stat.S_IFREG:
        with open(where, "rb") as file:
            content = blake3(file.read()).digest()
    elif kind == stat.S_IFLNK:
        content = os.readlink(where)
    elif kind == stat.S_IFDIR:
        content = b"\0".join(sorted(os.listdir(where)))
    names = os.listxattr(where, follow_symlinks=False)
    return Whole(
        inode=status.st_ino,
        kind=kind,
        status=(
            status.st_mode, status.st_uid, status.st_gid, status.st_nlink, status.st_size,
            status.st_rdev, status.st_mtime_ns, status.st_ctime_ns,
        ),
        attributes=tuple(
            (name, os.getxattr(where, name, follow_symlinks=False)) for name in sorted(names)
        ),
        content=content,
    )  # fmt: skip


def missing(before: Facts, after: Facts, listed: Collection[bytes]) -> set[bytes]:
    """Return what should have been listed and was not."""
    found = set()
    for path in before.keys() | after.keys():
        if before.get(path) != after.get(path):
            needed = _needed(path, before, after)
            if needed not in listed:
                found.add(needed)
    return found


def _needed(path: bytes, before: Facts, after: Facts) -> bytes:
    parts = path.split(b"/") if path else []
    for count in range(1, len(parts) + 1):
        name = b"/".join(parts[:count])
        if _stands_for(name, before) != _stands_for(name, after):
            return b"/".join(parts[: count - 1])
    return path


def _stands_for(name: bytes, facts: Facts) -> tuple[int, int] | None:
    whole = facts.get(name)
    return None if whole is None else (whole.inode, whole.kind)
