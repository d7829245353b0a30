"""What a session sees of its files, told entry by entry: the oracle of round trips.

Asked of the session's own root, so of the whole overlay: image, what was restored, and volume.
Nothing of the code that saves and restores takes part.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from blake3 import blake3

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

_BLOCK_BYTES = 4096
"""What is shorter has no hole."""
_READ_BYTES = 1 << 20
_DIFFERENCES_MAX = 12
"""That a failure shows: the first ones say what is wrong."""


class Sight(NamedTuple):
    """One name."""

    kind: int
    mode: int
    owner: tuple[int, int]
    modified_ns: int
    attributes: tuple[tuple[str, bytes], ...]
    """ACLs and capabilities among them."""
    device: tuple[int, int]
    size: int
    has_several_names: bool
    """By what is counted, which names that are gone may be part of."""
    twins: frozenset[bytes]
    """The other names."""
    data: tuple[tuple[int, int], ...]
    """From where to where it is no hole. What is allocated for all of its bytes has none."""
    content: bytes
    """The hash of a file's data; what a link says; the names in a folder."""


Sights = dict[bytes, Sight]
_NO_DATA: tuple[tuple[int, int], ...] = ()


def look(root: Path, tops: Iterable[str]) -> Sights:
    """Return all at and below these paths of a session's root, but for what is mounted there."""
    base = os.fsencode(root)
    found: dict[bytes, os.stat_result] = {}
    for top in tops:
        found |= dict(_below(base, os.fsencode(top)))
    names: dict[tuple[int, int], list[bytes]] = {}
    for path, status in found.items():
        if not stat.S_ISDIR(status.st_mode):
            names.setdefault((status.st_dev, status.st_ino), []).append(path)
    return {path: _sight(base, path, status, names) for path, status in found.items()}


def assert_same(before: Mapping[bytes, Sight], after: Mapping[bytes, Sight]) -> None:
    """Fail with the first paths that are different, and with what is different about each."""
    different = [
        f"{path!r}: {_difference(before.get(path), after.get(path))}"
        for path in sorted(before.keys() | after.keys())
        if not _is_same(before.get(path), after.get(path))
    ]
    assert not different, "\n".join(
        [f"{len(different)} of {len(before)} differ:", *different[:_DIFFERENCES_MAX]]
    )


def _difference(before: Sight | None, after: Sight | None) -> str:
    if before is None or after is None:
        return f"was {before}, is {after}"
    return ", ".join(
        f"{field} was {old!r:.200}, is {new!r:.200}"
        for field, old, new in zip(Sight._fields, before, after, strict=True)
        if old != new
    )


def _is_same(before: Sight | None, after: Sight | None) -> bool:
    """Say whether nobody could tell them apart, but for what an overlay doesn't keep.

    It may show two names of a file that it has copied as two files, and the count of names with
    those that were deleted since.
    """
    if before is None or after is None:
        return before is after
    names = (before.has_several_names, before.twins)
    if before.has_several_names and before.twins <= after.twins:
        names = (after.has_several_names, after.twins)
    return before._replace(has_several_names=names[0], twins=names[1]) == after


def _below(base: bytes, top: bytes) -> Iterator[tuple[bytes, os.stat_result]]:
    device = os.lstat(base + top).st_dev
    yield top, os.lstat(base + top)
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        with os.scandir(base + folder) as entries:
            for entry in entries:
                path = folder.rstrip(b"/") + b"/" + entry.name
                status = entry.stat(follow_symlinks=False)
                if not stat.S_ISDIR(status.st_mode):
                    yield path, status
                elif status.st_dev == device:
                    yield path, status
                    waiting.append(path)


def _sight(
    base: bytes,
    path: bytes,
    status: os.stat_result,
    names: Mapping[tuple[int, int], list[bytes]],
) -> Sight:
    where, kind = base + path, stat.S_IFMT(status.st_mode)
    is_folder = kind == stat.S_IFDIR
    content, data = b"", _NO_DATA
    if kind == stat.S_IFREG:
        data, content = _data(where)
    elif kind == stat.S_IFLNK:
        content = os.readlink(where)
    elif is_folder:
        content = b"\0".join(sorted(os.listdir(where)))
    is_device = kind in {stat.S_IFCHR, stat.S_IFBLK}
    twins = () if is_folder else names[status.st_dev, status.st_ino]
    attributes = os.listxattr(where, follow_symlinks=False)
    return Sight(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=(status.st_uid, status.st_gid),
        modified_ns=status.st_mtime_ns,
        attributes=tuple(
            (name, os.getxattr(where, name, follow_symlinks=False)) for name in sorted(attributes)
        ),
        device=(os.major(status.st_rdev), os.minor(status.st_rdev)) if is_device else (0, 0),
        size=0 if is_folder else status.st_size,
        has_several_names=not is_folder and status.st_nlink > 1,
        twins=frozenset(twins) - {path},
        data=data,
        content=content,
    )


def _data(where: bytes) -> tuple[tuple[tuple[int, int], ...], bytes]:
    """Return where a file has data, and the hash of them: its holes are never read."""
    digest = blake3()
    fd = os.open(where, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        found = tuple(_stretches(fd))
        for begin, end in found:
            for at in range(begin, end, _READ_BYTES):
                digest.update(os.pread(fd, min(_READ_BYTES, end - at), at))
    finally:
        os.close(fd)
    return found, digest.digest()


def _stretches(fd: int) -> Iterator[tuple[int, int]]:
    status = os.fstat(fd)
    if status.st_size < _BLOCK_BYTES or status.st_blocks * 512 >= status.st_size:
        yield 0, status.st_size
        return
    end = 0
    while end < status.st_size:
        try:
            begin = os.lseek(fd, end, os.SEEK_DATA)
        except OSError:  # a hole up to the end
            return
        end = os.lseek(fd, begin, os.SEEK_HOLE)
        yield begin, end
