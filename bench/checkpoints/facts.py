"""What is in a tree: names, kinds, modes, owners, times in ns, links, attributes, bytes.

By calls of its own, so that neither our reader nor our writer is asked about itself.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SHOWN = 3


class Fact(NamedTuple):
    """What one path stands for."""

    mode: int
    owner: tuple[int, int]
    modified_ns: int
    size_bytes: int
    content: bytes
    """A file's hash, or where a link leads."""
    names: int
    """How many this file has."""
    attributes: tuple[tuple[str, bytes], ...]


Facts = dict[bytes, Fact]
"""By path; the folder itself is not among them."""


def facts(folder: Path) -> Facts:
    """Read all of a tree. Takes a while: belongs into a thread."""
    root = os.fsencode(folder)
    return {path[len(root) + 1 :]: _fact(path) for path in _below(root)}


def count(found: Facts) -> tuple[int, int]:
    """Return how many files there are, and of how many bytes."""
    sizes = [fact.size_bytes for fact in found.values() if stat.S_ISREG(fact.mode)]
    return len(sizes), sum(sizes)


def must_equal(found: Facts, expected: Facts, what: str) -> None:
    """Raise BenchError, naming some differences, unless two trees are the same."""
    if found == expected:
        return
    paths = sorted(
        path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path)
    )
    shown = "; ".join(
        f"{os.fsdecode(path)!r}: {found.get(path)} instead of {expected.get(path)}"
        for path in paths[:_SHOWN]
    )
    raise BenchError(f"{what} differs in {len(paths)} of {len(expected)} entries: {shown}")


def _below(folder: bytes) -> Iterator[bytes]:
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.path
            if entry.is_dir(follow_symlinks=False):
                yield from _below(entry.path)


def _fact(path: bytes) -> Fact:
    status = os.lstat(path)
    is_folder = stat.S_ISDIR(status.st_mode)
    return Fact(
        mode=status.st_mode,
        owner=(status.st_uid, status.st_gid),
        modified_ns=status.st_mtime_ns,
        size_bytes=0 if is_folder else status.st_size,
        content=_content(path, status),
        names=0 if is_folder else status.st_nlink,
        attributes=tuple(
            (name, os.getxattr(path, name, follow_symlinks=False))
            for name in sorted(os.listxattr(path, follow_symlinks=False))
        ),
    )


def _content(path: bytes, status: os.stat_result) -> bytes:
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if not stat.S_ISREG(status.st_mode):
        return b""
    with open(path, "rb") as file:
        return blake3(file.read()).digest()
