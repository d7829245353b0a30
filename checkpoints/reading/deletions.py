"""Which deletions of a tree are made, where only those are that hide something.

A layer with deletions that hide nothing is none that an overlay shows rightly: a folder that only
one layer has isn't merged, but listed as it is. The names of such deletions are seen then, nobody
knows what they are, and they can't be removed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from checkpoints.tree.entry import Kind
from checkpoints.tree.keys import path_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from checkpoints.tree.entry import Entry
    from checkpoints.tree.keys import Key


class Deletions:
    """Sees a tree's folders and deletions, in their order."""

    def __init__(self, hides: Callable[[bytes], bool] | None) -> None:
        """`hides` says whether what lies below shows a path; without, all deletions are made."""
        self.left_out = 0
        self._hides = hides
        self._opaque: set[bytes] = set()

    def are_made(self, key: Key, entry: Entry) -> bool:
        """Return whether an entry is made: no if it is a deletion that hides nothing."""
        if self._hides is None:
            return True
        path = path_of(key)
        if entry.kind is not Kind.DELETION:
            if entry.opaque:
                self._opaque.add(path)
            return True
        if not self._is_covered(path) and self._hides(path):
            return True
        self.left_out += 1
        return False

    def _is_covered(self, path: bytes) -> bool:
        """Return whether a folder above shows nothing of what lies below, whatever that is."""
        if not self._opaque:
            return False
        while path:
            path = path.rpartition(b"/")[0]
            if path in self._opaque:
                return True
        return False
