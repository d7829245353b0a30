"""What a volume shows over its base, as one layer.

    volume      base        shown
    nothing     anything    the base's, with all below it
    no folder   anything    the volume's, and of the base nothing at or below it
    folder      nothing     the volume's
    folder      folder      the volume's, opaque if one of both is; below it, both,
                            unless the volume's is opaque
    folder      no folder   the volume's, opaque: what the base has hides the image's

This is what the kernel shows of the volume over the base over the image, written as one layer over
the image. So deletions stay: the image may have the name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.entry import Entry, Kind
from checkpoints.tree.keys import path_of
from checkpoints.writing.scan import Seen, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.tree.tree import Tree
    from checkpoints.writing.batch import Item
    from checkpoints.writing.volume import Volume


def over(seen: Seen, below: Entry | None) -> Seen:
    """Return what a name of the volume is, given what shows of the base below it."""
    if below is None or seen.kind is not Kind.FOLDER:
        return seen
    if below.kind is Kind.FOLDER and not below.opaque:
        return seen
    return msgspec.structs.replace(seen, opaque=True)


def overlaid(volume: Volume, base: Tree | None, path: bytes = b"") -> Iterator[Item]:
    """Yield what is at a path and all below it, ascending by key.

    A `base` is given where it shows at the path, if it has something there.
    """
    seen_all = walk(volume, path)
    seen = next(seen_all, None)
    hidden: set[bytes] = set()  # the base's folders below which nothing of it shows
    for key, entry in base.walk(path) if base is not None else ():
        while seen is not None and seen.key < key:
            yield seen.key, seen
            seen = next(seen_all, None)
        shows = key.partition(b"\0")[0] not in hidden
        found = seen if seen is not None and seen.key == key else None
        if entry.kind is Kind.FOLDER:
            folder = path_of(key)
            if not shows or (found is not None and _hides(volume, found, folder)):
                hidden.add(folder)
        if found is not None:
            yield key, over(found, entry) if shows else found
            seen = next(seen_all, None)
        elif shows:
            yield key, entry
    while seen is not None:
        yield seen.key, seen
        seen = next(seen_all, None)


def _hides(volume: Volume, seen: Seen, folder: bytes) -> bool:
    return seen.kind is not Kind.FOLDER or volume.is_opaque(folder)
