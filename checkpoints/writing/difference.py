"""What of a folder has to be described again, given the tree of the generation before it.

Either by its metadata, going through all of both side by side; or by a list of what changed. A file
is unchanged if it has the same inode, and its inode was not touched since the last capture began:
`ctime` moves with every change to content, attributes or links, and nobody can set it.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from checkpoints.tree.changes import Change, RemoveEntry, RemoveSubtree, SetEntry
from checkpoints.tree.entry import Entry, Kind
from checkpoints.tree.keys import ROOT_KEY, Key, key_of, path_of
from checkpoints.writing.scan import Seen, walk

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.tree.tree import Tree
    from checkpoints.writing.contents import Item
    from checkpoints.writing.volume import Volume

MARGIN_NS = 2_000_000_000
"""What was touched so shortly before the last capture began is read again: clocks are coarse, and
the calendar's may have been set."""


def by_metadata(volume: Volume, before: Tree, since_ns: int) -> Iterator[Item]:
    """Yield what differs, ascending by key; None of what is gone.

    `since_ns` is when the capture of `before` began.
    """
    untouched_ns = since_ns - MARGIN_NS
    old = before.walk()
    old_key, old_entry = next(old, _END)
    for seen in walk(volume):
        key = seen.key
        while old_key is not None and old_key < key:
            yield old_key, None
            old_key, old_entry = next(old, _END)
        if old_key != key:
            yield key, seen
            continue
        assert old_entry is not None
        if not _is_unchanged(seen, old_entry, untouched_ns):
            yield key, seen
        old_key, old_entry = next(old, _END)
    while old_key is not None:
        yield old_key, None
        old_key, old_entry = next(old, _END)


_END: tuple[Key | None, Entry | None] = (None, None)


def _is_unchanged(seen: Seen, entry: Entry, untouched_ns: int) -> bool:
    status = seen.status
    if status.st_ino != entry.inode:
        return entry.kind is Kind.DELETION and seen.kind is Kind.DELETION
    return (
        status.st_ctime_ns < untouched_ns
        and status.st_ctime_ns == entry.changed_ns
        and status.st_mtime_ns == entry.modified_ns
        and seen.kind is entry.kind
        and (entry.kind is not Kind.FILE or status.st_size == entry.size_bytes)
    )


class Listed:
    """What a list of changed paths comes to.

    The list has every path whose inode was touched: its content, its attributes, its links, or, of
    a folder, the names in it. A folder's names are compared with those of before; what is new
    there is taken with all below it, wherever it was before; what is gone, goes with all below it.
    """

    def __init__(self, volume: Volume, before: Tree, paths: Iterable[bytes]) -> None:
        """Look at all of it. Raises OSError, and ValueError for what can't be a path."""
        self.removed: set[Key] = set()
        """They go with all below them, before anything is set."""
        self._volume = volume
        self._before = before
        self._items: dict[Key, Seen | None] = {}
        for path in sorted(set(paths)):
            self._look(path)

    def items(self) -> Iterator[Item]:
        """Yield what has to be described, ascending by key; None of what is gone."""
        items = self._items
        for key in sorted(items.keys() | self.removed):
            yield key, items.get(key)

    def _look(self, path: bytes) -> None:
        key = key_of(path)
        if key in self._items:
            return  # below something new
        status = self._volume.status(path)
        old = self._before.find(key)
        if status is None:
            self._remove(key, old)
            return
        seen = Seen(key, status)
        if not _is_same_thing(seen, old):
            self._replace(seen, old)
            return
        self._items[key] = seen
        if stat.S_ISDIR(status.st_mode) and status.st_dev == self._volume.device:
            self._compare_names(path)

    def _compare_names(self, folder: bytes) -> None:
        prefix = folder + b"\0"
        old = dict(self._before.listing(folder))
        for name, status in self._volume.listing(folder):
            seen = Seen(Key(prefix + name), status)
            entry = old.pop(name, None)
            if not _is_same_thing(seen, entry):
                self._replace(seen, entry)
        for name, entry in old.items():
            self._remove(Key(prefix + name), entry)

    def _replace(self, seen: Seen, old: Entry | None) -> None:
        if old is not None and old.kind is Kind.FOLDER:
            self.removed.add(seen.key)
        if stat.S_ISDIR(seen.status.st_mode):
            self._items.update(
                (below.key, below) for below in walk(self._volume, path_of(seen.key))
            )
        else:
            self._items[seen.key] = seen

    def _remove(self, key: Key, old: Entry | None) -> None:
        if old is None:
            return
        assert key != ROOT_KEY, "the folder is there: it is open"
        if old.kind is Kind.FOLDER:
            self.removed.add(key)
        self._items[key] = None


def _is_same_thing(seen: Seen, entry: Entry | None) -> bool:
    """Return whether it is what it was, however it may have changed."""
    if entry is None or entry.kind is not seen.kind:
        return False
    return entry.kind is Kind.DELETION or entry.inode == seen.status.st_ino


def changes(
    described: Iterable[tuple[Key, Entry | None]], removed: frozenset[Key] = frozenset()
) -> Iterator[Change]:
    """Yield what is to be done to the tree of before."""
    for key, entry in described:
        if key in removed:
            yield RemoveSubtree(key=key)
        if entry is not None:
            yield SetEntry(key=key, entry=entry)
        elif key not in removed:
            yield RemoveEntry(key=key)
