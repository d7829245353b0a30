"""What differs by its metadata: the volume's names and those of before, side by side.

A name is unchanged if it has the same inode, and the inode was not touched since the last capture
began: `ctime` moves with every change to content, attributes or links, and nobody can set it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from checkpoints.tree.entry import Kind, inode_of
from checkpoints.writing.difference import Anew, Fresh, Kept, Point, interleaved
from checkpoints.writing.scan import FORMAT, KINDS, Seen, statuses

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key
    from checkpoints.tree.stamps import Stamp
    from checkpoints.writing.batch import Item
    from checkpoints.writing.difference import Differences

MARGIN_NS = 2_000_000_000
"""What was touched so shortly before the last capture began is read again: clocks are coarse, and
the calendar's may have been set."""


def compared(differences: Differences, since_ns: int) -> Iterator[Item]:
    """Yield what has to be described, ascending by key; None of what is gone.

    `since_ns` is when the capture of the tree of before began.
    """
    return interleaved(_found(differences, since_ns))


def _found(
    differences: Differences, since_ns: int
) -> Iterator[tuple[Key, Entry | Seen | Iterator[Item] | None]]:
    untouched_ns = since_ns - MARGIN_NS
    volume_bits = inode_of(differences.volume.number, 0)
    stamps = differences.before.stamps()
    old = next(stamps, None)
    for key, status in statuses(differences.volume):
        while old is not None and old.key < key:
            if differences.is_mine(old):
                yield from _item(differences, old.key, None, old)
            old = next(stamps, None)
        found = None
        if old is not None and old.key == key:
            found = old
            old = next(stamps, None)
            # Asked of each of a million names, so it stands here and not in a function.
            touched_ns = status.st_ctime_ns
            if (
                touched_ns == found.changed_ns
                and status.st_ino | volume_bits == found.inode
                and touched_ns < untouched_ns
                and status.st_mtime_ns == found.modified_ns
                and (kind := KINDS[status.st_mode & FORMAT]) is found.kind
                and (kind is not Kind.FILE or status.st_size == found.size_bytes)
            ):
                continue
        seen = Seen(key, status)
        if not _is_still_deleted(seen, found, volume_bits):
            yield from _item(differences, key, seen, found)
    while old is not None:
        if differences.is_mine(old):
            yield from _item(differences, old.key, None, old)
        old = next(stamps, None)


def _item(
    differences: Differences, key: Key, seen: Seen | None, old: Stamp | None
) -> Iterator[tuple[Key, Entry | Seen | Iterator[Item] | None]]:
    if differences.is_done(key):
        return
    decision = differences.decide(key, seen, old)
    match decision:
        case None:
            pass
        case Point(item=item):
            yield key, item
        case Kept(seen=shown) | Fresh(seen=shown):
            yield key, shown
        case Anew():
            yield key, differences.all_anew(key)
        case _:
            assert_never(decision)


def _is_still_deleted(seen: Seen, old: Stamp | None, volume_bits: int) -> bool:
    """Return whether nothing is there, as before: a deletion has no inode, and no times."""
    if old is None or old.kind is not Kind.DELETION or seen.kind is not Kind.DELETION:
        return False
    return old.inode == volume_bits
