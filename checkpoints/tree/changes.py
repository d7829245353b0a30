"""What an update is told to do, and what that means for the leaves of a tree."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.entry import Entry
from checkpoints.tree.entry_bytes import encode
from checkpoints.tree.keys import Key, below_ranges, path_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class SetEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The key has this entry from now on, whatever it had."""

    key: Key
    entry: Entry


class RemoveEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The key has no entry any more."""

    key: Key


class RemoveSubtree(msgspec.Struct, frozen=True, kw_only=True):
    """Neither the key nor anything below its path has an entry of the old tree any more.

    What other changes set there, stays.
    """

    key: Key


Change = SetEntry | RemoveEntry | RemoveSubtree


class PointEdit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One key's new entry in a node, as its bytes; or None, if it has none any more."""

    key: Key
    item: bytes | None
    entries: int = 0
    file_bytes: int = 0


class RangeEdit(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All keys from one up to but without another lose what they have."""

    key: Key
    stop: Key


Edit = PointEdit | RangeEdit


def edits_of(changes: Iterable[Change]) -> Iterator[Edit]:
    """Yield what changes do to leaves, ascending: what is below a folder lies further on than it.

    Changes ascend by key; of one key, removals come first. Raises RefusedError.
    """
    ranges: list[tuple[Key, Key]] = []
    previous = b""
    for change in changes:
        key = change.key
        assert previous <= key, "changes ascend by key"
        previous = key
        while ranges and ranges[0][0] <= key:
            start, stop = heappop(ranges)
            yield RangeEdit(key=start, stop=stop)
        match change:
            case SetEntry(entry=entry):
                item = encode(key, entry)
                yield PointEdit(key=key, item=item, entries=1, file_bytes=entry.size_bytes)
            case RemoveEntry():
                yield PointEdit(key=key, item=None)
            case RemoveSubtree():
                yield PointEdit(key=key, item=None)
                for bounds in below_ranges(path_of(key)):
                    heappush(ranges, bounds)
    while ranges:
        start, stop = heappop(ranges)
        yield RangeEdit(key=start, stop=stop)
