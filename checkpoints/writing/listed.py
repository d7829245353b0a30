"""What a list of changed paths comes to.

The list has every path whose inode was touched: its content, its attributes, its links, or, of a
folder, the names in it. A folder's names are compared with those of before: what is new there is
taken with all below it, wherever it was before; what is gone, goes with all below it.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, assert_never

from checkpoints.tree.entry import Entry, Kind, inode_of
from checkpoints.tree.keys import Key, key_of, path_of
from checkpoints.writing.difference import Anew, Fresh, Kept, Point, interleaved
from checkpoints.writing.scan import Seen

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from checkpoints.writing.batch import Item
    from checkpoints.writing.difference import Differences

PATHS_MAX = 250_000
"""Of more, all metadata are compared: it takes as long, and less memory."""


def listed(differences: Differences, paths: Iterable[bytes]) -> Iterator[Item]:
    """Yield what has to be described, ascending by key; None of what is gone.

    Raises OSError, and ValueError for what can't be a path.
    """
    return interleaved(_Looks(differences, paths).found())


class _Looks:
    """The names to be looked at: those of the list, and what is found on the way."""

    def __init__(self, differences: Differences, paths: Iterable[bytes]) -> None:
        self._differences = differences
        self._waiting = sorted({key_of(path) for path in paths})  # which is a heap
        self._known: dict[Key, tuple[Seen | None, Entry | None]] = {}

    def found(self) -> Iterator[tuple[Key, Entry | Seen | Iterator[Item] | None]]:
        last: Key | None = None
        while self._waiting:
            key = heapq.heappop(self._waiting)
            if key != last and not self._differences.is_done(key):
                yield from self._look(key)
            last = key

    def _look(self, key: Key) -> Iterator[tuple[Key, Entry | Seen | Iterator[Item] | None]]:
        differences = self._differences
        known = self._known.pop(key, None)
        seen, old = known if known is not None else self._asked(key)
        decision = differences.decide(key, seen, old)
        match decision:
            case None:
                pass
            case Point(item=item):
                yield key, item
            case Kept(seen=shown):
                if old is not None and differences.is_mine(old) and not self._is_same(shown, old):
                    yield key, differences.all_anew(key)
                else:
                    yield key, shown
                    self._compare_names(shown)
            case Fresh() | Anew():
                yield key, differences.all_anew(key)
            case _:
                assert_never(decision)

    def _asked(self, key: Key) -> tuple[Seen | None, Entry | None]:
        status = self._differences.volume.status(path_of(key))
        seen = None if status is None else Seen(key, status)
        return seen, self._differences.before.find(key)

    def _compare_names(self, folder: Seen) -> None:
        """Take notice of names in a folder that the volume has for something else than before."""
        differences = self._differences
        volume, path = differences.volume, path_of(folder.key)
        if folder.status.st_dev != volume.device:
            return
        names = differences.before.listing(path)
        old = next(names, None)
        for name, status in volume.listing(path):
            while old is not None and old[0] < name:
                self._notice_gone(path, *old)
                old = next(names, None)
            entry = None
            if old is not None and old[0] == name:
                entry = old[1]
                old = next(names, None)
            seen = Seen(Key(path + b"\0" + name), status)
            if entry is None or not self._is_same(seen, entry):
                self._notice(seen.key, seen, entry)
        while old is not None:
            self._notice_gone(path, *old)
            old = next(names, None)

    def _notice_gone(self, folder: bytes, name: bytes, entry: Entry) -> None:
        if self._differences.is_mine(entry):
            self._notice(Key(folder + b"\0" + name), None, entry)

    def _notice(self, key: Key, seen: Seen | None, old: Entry | None) -> None:
        self._known[key] = seen, old
        heapq.heappush(self._waiting, key)

    def _is_same(self, seen: Seen, old: Entry) -> bool:
        """Return whether it is what it was, however it may have changed."""
        if old.kind is not seen.kind:
            return False
        number = 0 if old.kind is Kind.DELETION else seen.status.st_ino
        return old.inode == inode_of(self._differences.volume.number, number)
