"""What a folder holds, asked of the kernel: the oracle of everything that restores."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Facts:
    """One name."""

    type: str
    mode: int
    user: int
    group: int
    modified_ns: int
    attributes: tuple[tuple[str, bytes], ...] = ()
    content: bytes = b""
    """Of a file; what a symbolic link says."""
    device: tuple[int, int] | None = None
    twins: tuple[bytes, ...] = ()
    """Other names of the same file, ascending."""


_TYPES = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character",
    stat.S_IFBLK: "block",
}


def look(folder: Path) -> dict[bytes, Facts]:
    """Return facts by path; the folder's own path is empty."""
    root = os.fsencode(folder)
    found = {b"": root}
    for parent, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(parent, name)
            found[path[len(root) + 1 :]] = path
    numbers: dict[int, list[bytes]] = {}
    for path, whole in found.items():
        status = os.lstat(whole)
        if not stat.S_ISDIR(status.st_mode):
            numbers.setdefault(status.st_ino, []).append(path)
    return {path: _facts(path, whole, numbers) for path, whole in found.items()}


def _facts(path: bytes, whole: bytes, numbers: dict[int, list[bytes]]) -> Facts:
    status = os.lstat(whole)
    kind = _TYPES[stat.S_IFMT(status.st_mode)]
    content = b""
    if kind == "file":
        with open(whole, "rb") as file:
            content = file.read()
    elif kind == "link":
        content = os.readlink(whole)
    names = os.listxattr(whole, follow_symlinks=False)
    return Facts(
        type=kind,
        mode=0o777 if kind == "link" else stat.S_IMODE(status.st_mode),
        user=status.st_uid,
        group=status.st_gid,
        modified_ns=status.st_mtime_ns,
        attributes=tuple(
            (name, os.getxattr(whole, name, follow_symlinks=False)) for name in sorted(names)
        ),
        content=content,
        device=(os.major(status.st_rdev), os.minor(status.st_rdev))
        if kind in {"character", "block"}
        else None,
        twins=tuple(sorted(set(numbers.get(status.st_ino, ())) - {path})),
    )


def allocated_bytes(path: Path) -> int:
    """Return how much of a file is not holes."""
    return path.stat().st_blocks * 512
