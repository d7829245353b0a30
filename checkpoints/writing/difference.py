"""What has to be described again, given the tree of the generation before it.

    compared (all metadata) ─┬─ names that may differ ─ decide ─┬─ one entry
    listed (changed paths)  ─┘                                  └─ all below a name, anew

Most names stand for themselves. But where a volume lies over a base, a name of the volume may hide
what the base has below it, or hide it no more: then all below it is put together anew from both.
That is rare, and all else costs what the change does.
"""

from __future__ import annotations

import heapq
from itertools import count, islice
from typing import TYPE_CHECKING, Protocol

import msgspec

from checkpoints.tree.changes import Change, RemoveEntry, RemoveSubtree, SetEntry
from checkpoints.tree.entry import Entry, Kind, volume_of
from checkpoints.tree.keys import ROOT_KEY, Key, key_of, path_of
from checkpoints.writing.overlaid import over, overlaid
from checkpoints.writing.scan import Seen

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from checkpoints.tree.tree import Tree
    from checkpoints.writing.batch import Item
    from checkpoints.writing.volume import Volume

NAMES_TRIED_MAX = 64
"""So many names of the base are looked for to see whether it showed. If the volume had all of them
itself, that isn't known, and nothing is lost by putting all together anew."""


class Old(Protocol):
    """What of an entry of before decides: entries and stamps have it."""

    @property
    def kind(self) -> Kind: ...
    @property
    def inode(self) -> int: ...


class Point(msgspec.Struct, frozen=True, gc=False):
    """The name stands for this now; nothing shows below it."""

    item: Entry | Seen | None


class Kept(msgspec.Struct, frozen=True, gc=False):
    """A folder as before: below it, whatever was not touched is what it was."""

    seen: Seen


class Fresh(msgspec.Struct, frozen=True, gc=False):
    """A folder where there was none, and below it only what the volume has."""

    seen: Seen


class Anew(msgspec.Struct, frozen=True, gc=False):
    """All at and below the name has to be put together again."""


Decision = Point | Kept | Fresh | Anew


class Differences:
    """Between a volume over its base and the tree of before. For one thread.

    Names are decided ascending by key, so a folder before all that is in it.
    """

    def __init__(self, volume: Volume, before: Tree, base: Tree | None) -> None:
        self.removed: set[Key] = set()
        """They go with all below them, before anything is set. Grows as names are decided."""
        self.volume = volume
        self.before = before
        self._base = base
        self._done: set[bytes] = set()  # all below these paths is decided
        self._shows: dict[bytes, bool] = {}

    def is_mine(self, old: Old) -> bool:
        """Return whether an entry of before came from this volume."""
        return volume_of(old.inode) == self.volume.number

    def is_done(self, key: Key) -> bool:
        """Return whether all about a name was said with one above it."""
        if not self._done or key == ROOT_KEY:
            return False
        folder = key.partition(b"\0")[0]
        while folder and folder not in self._done:
            folder = folder.rpartition(b"/")[0]
        return folder in self._done

    def decide(self, key: Key, seen: Seen | None, old: Old | None) -> Decision | None:
        """Return what has become of a name; None if the volume says and said nothing about it.

        `seen` is what the volume has, `old` what the tree of before has.
        """
        is_mine = old is not None and self.is_mine(old)
        was_folder = old is not None and old.kind is Kind.FOLDER
        if seen is None:
            return self._gone(key, was_folder=was_folder) if is_mine else None
        if seen.kind is not Kind.FOLDER:
            return self._point(key, seen, was_folder=was_folder)
        if was_folder:
            return self._folder(key, seen, is_mine=is_mine)
        if is_mine and self._base is not None:
            return Anew()  # whatever it hid of the base
        if old is not None and not is_mine:
            seen = msgspec.structs.replace(seen, opaque=True)  # as the base's would be over images
        return Fresh(seen)

    def _gone(self, key: Key, *, was_folder: bool) -> Decision:
        below = self._below(key)
        if below is not None and below.kind is Kind.FOLDER:
            return Anew()
        return self._point(key, below, was_folder=was_folder)

    def _point(self, key: Key, item: Entry | Seen | None, *, was_folder: bool) -> Point:
        if was_folder:
            self.removed.add(key)
            self._done.add(path_of(key))
        return Point(item)

    def _folder(self, key: Key, seen: Seen, *, is_mine: bool) -> Decision:
        below = self._below(key)
        is_both = below is not None and below.kind is Kind.FOLDER
        if is_both and self._shows_otherwise(path_of(key), is_mine=is_mine):
            return Anew()
        return Kept(over(seen, below))

    def _below(self, key: Key) -> Entry | None:
        """Return what shows of the base below a name."""
        if self._base is None:
            return None
        if key != ROOT_KEY and not self._shows_in(key.partition(b"\0")[0]):
            return None
        return self._base.find(key)

    def _shows_in(self, folder: bytes) -> bool:
        """Return whether the base's names in a folder show, where the volume hasn't these names."""
        found = self._shows.get(folder)
        if found is None:
            below = self._below(key_of(folder))
            found = below is not None and below.kind is Kind.FOLDER
            found = found and not self.volume.is_opaque(folder)
            self._shows[folder] = found
        return found

    def _shows_otherwise(self, folder: bytes, *, is_mine: bool) -> bool:
        """Return whether the base's names in a folder show now but didn't before, or vice versa.

        They showed if there was no folder of the volume; or one that wasn't opaque, and then the
        tree of before has the base's entries, or the volume's.
        """
        assert self._base is not None
        shows = self._shows_in(folder)
        if not is_mine:
            return not shows
        is_unknown = False
        for name, _ in islice(self._base.listing(folder), NAMES_TRIED_MAX):
            old = self.before.find(Key(folder + b"\0" + name))
            if old is None or not self.is_mine(old):
                return shows is not (old is not None)
            is_unknown = True
        return is_unknown

    def all_anew(self, key: Key) -> Iterator[Item]:
        """Yield a name and all below it, put together anew; None of a name that is no more."""
        self.removed.add(key)
        path = path_of(key)
        self._done.add(path)
        base = self._base if self._below(key) is not None else None
        return _beginning_with(key, overlaid(self.volume, base, path))


def _beginning_with(key: Key, items: Iterator[Item]) -> Iterator[Item]:
    first = next(items, None)
    if first is None or first[0] != key:
        yield key, None
    if first is not None:
        yield first
    yield from items


def interleaved(
    found: Iterable[tuple[Key, Entry | Seen | Iterator[Item] | None]],
) -> Iterator[Item]:
    """Yield items, single ones and those of streams that begin at their key, ascending by key."""
    streams: list[tuple[Key, int, Entry | Seen | None, Iterator[Item]]] = []
    numbers = count()

    def put(stream: Iterator[Item]) -> None:
        following = next(stream, None)
        if following is not None:
            heapq.heappush(streams, (following[0], next(numbers), following[1], stream))

    def taken(up_to: Key | None) -> Iterator[Item]:
        while streams and (up_to is None or streams[0][0] < up_to):
            key, _, item, stream = heapq.heappop(streams)
            yield key, item
            put(stream)

    for key, item in found:
        yield from taken(key)
        if item is None or isinstance(item, (Entry, Seen)):
            yield key, item
        else:
            put(item)
    yield from taken(None)


def settled(
    described: Iterable[tuple[Key, Entry | None]], vanished: Collection[Key]
) -> Iterator[tuple[Key, Entry | None]]:
    """Leave out what lies in folders that vanished while they were read."""
    gone: set[bytes] = set()
    for key, entry in described:
        if gone and key.partition(b"\0")[0] in gone:
            gone.add(path_of(key))
            continue
        if key in vanished:
            gone.add(path_of(key))
        yield key, entry


def changes(
    described: Iterable[tuple[Key, Entry | None]],
    removed: Collection[Key],
    vanished: Collection[Key],
) -> Iterator[Change]:
    """Yield what is to be done to the tree of before."""
    for key, entry in settled(described, vanished):
        with_all_below = key in removed or key in vanished
        if with_all_below:
            yield RemoveSubtree(key=key)
        if entry is not None:
            yield SetEntry(key=key, entry=entry)
        elif not with_all_below:
            yield RemoveEntry(key=key)
