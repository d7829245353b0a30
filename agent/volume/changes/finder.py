"""**Start here.** From a snapshot and the point before it to the paths that changed.

btrfs stamps each inode with the transaction that touched it last, and whatever is done to a file or
a folder touches its inode: content in any way (write, mmap, clone, hole), size, mode, owner, times,
attributes, names; a folder's also each name that comes to it or goes from it. Nobody can set the
stamp, while a program may set size and time back to what they were.

    leaves newer than the point ── inodes stamped later ─┬─ their names ── paths
                                                         └─ (where a leaf has not all of them:
                                                             looked up, one by one)

So the list has every inode's path that was touched, by each of its names. It has not:

- what is gone. The folder that it was in is listed.
- what is below a folder that was renamed. The folders it came from and went to are listed.
- what was deleted and is held open: it has no path.

That is what a writer of checkpoints expects of a list: it compares a listed folder's names with
those of before. A path may be listed without a change: something was done, and undone.

Inode numbers are given again after a restart, when the highest are free. What is new under an old
number has a new stamp, so nothing is missed.

It costs what changed. Among 200 000 files: nothing 0.1 ms, 137 of them 17 ms, all of them 1 s.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.volume.changes.inode_items import (
    INODE_ITEM,
    ROOT_REF,
    inode_of,
    name_of_root,
    names_of,
)
from agent.volume.changes.names import NAME_KINDS, Names
from agent.volume.changes.point import Point, facts_of, opened
from agent.volume.changes.tree_search import (
    KIND_MAX,
    LOOKUP_BYTES,
    NUMBER_MAX,
    ROOT_TREE,
    SAME_TREE,
    SCAN_BYTES,
    Key,
    TreeSearch,
)
from agent.volume.changes.unknown import ChangesUnknownError, InnerSubvolumeError

if TYPE_CHECKING:
    from pathlib import Path

    from agent.volume.changes.inode_items import Name

PATHS_MAX = 250_000
"""Of more, comparing all metadata takes no longer, and less memory."""

_NUMBER_MIN, _NUMBER_MAX = 256, NUMBER_MAX - 255
"""Between them are the numbers of files and folders, and of subvolumes."""
_KINDS = frozenset({INODE_ITEM, *NAME_KINDS})


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What changed in a snapshot's `upper` since an earlier snapshot."""

    paths: tuple[bytes, ...]
    """Relative to `upper`, which itself is empty. Each once, in no order."""
    point: Point
    """The snapshot's own: what to ask from next time, if what it holds is committed."""


def changed(snapshot: Path, since: Point, *, paths_max: int = PATHS_MAX) -> Changes:
    """Return what changed in the read-only copy `snapshot` since the point of an earlier one.

    Blocks for as long as that takes: belongs into a thread, which it does not stop others from
    there. Raises ChangesUnknownError where a list would not have everything, or too much.
    """
    with opened(snapshot) as fd:
        point, container = facts_of(fd)
        _require_later(point, since)
        _refuse_inner_subvolumes(fd, container)
        touched = _Touched(fd, point.line.upper, paths_max)
        touched.read(since.generation)
        return Changes(paths=tuple(touched.paths), point=point)


class _Touched:
    """The inodes that were touched, one after the other, and the paths that they come to.

    Nothing is kept of an inode but its paths: a collection of garbage stops all threads for as long
    as it takes to look at every object that refers to others.
    """

    def __init__(self, fd: int, upper: int, paths_max: int) -> None:
        self.paths: list[bytes] = []
        self._fd = fd
        self._names = Names(fd, upper)
        self._paths_max = paths_max
        self._found = 0

    def read(self, since: int) -> None:
        """Take all from the leaves written since. An inode comes before its names."""
        search = TreeSearch(self._fd, SAME_TREE, buffer_bytes=SCAN_BYTES)
        first, last = Key(_NUMBER_MIN), Key(_NUMBER_MAX, KIND_MAX, NUMBER_MAX)
        touched, count = 0, 0
        names: list[Name] = []
        for number, kind, offset, data in search.items(first, last, _KINDS, since=since):
            if kind == INODE_ITEM:
                self._take(touched, count, names)
                inode = inode_of(data)
                touched, count = number, inode.names if inode.transaction > since else 0
                names = []
            elif number == touched:
                names.extend(names_of(kind, offset, data))
        self._take(touched, count, names)

    def _take(self, number: int, count: int, names: list[Name]) -> None:
        """Take an inode of which so many names must be found, and some were. Of none, nothing."""
        if not count:
            return
        self._found += count
        if self._found > self._paths_max:
            raise ChangesUnknownError(
                f"more than {self._paths_max} paths changed: all are compared, which is as quick"
            )
        if len(names) != count:  # the others are in leaves that were not written anew
            names = self._names.all_of(number, count)
        self.paths.extend(self._names.paths(number, names))


def _require_later(point: Point, since: Point) -> None:
    if point.line != since.line:
        raise ChangesUnknownError(
            "this is another volume than the one that was last captured; all files are compared"
        )
    if point.generation < since.generation:
        raise ChangesUnknownError(
            "the volume is older than what was last captured of it: somebody has put an old image "
            "back; all files are compared"
        )


def _refuse_inner_subvolumes(fd: int, container: int) -> None:
    """Raise if a subvolume is anywhere but where the volume itself and its snapshots are."""
    search = TreeSearch(fd, ROOT_TREE, buffer_bytes=LOOKUP_BYTES)
    first, last = Key(_NUMBER_MIN, ROOT_REF), Key(_NUMBER_MAX, ROOT_REF, NUMBER_MAX)
    for item in search.items(first, last, {ROOT_REF}):
        if item.number != container:
            raise InnerSubvolumeError(
                f"{os.fsdecode(name_of_root(item.data))!r} is a subvolume: checkpoints have an "
                "empty folder in its place; copy what is in it to a plain folder and delete it"
            )
