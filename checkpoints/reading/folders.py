"""Folders below a root, opened name by name, without following anything.

A tree may come from somebody who wishes harm: it can say that `a` is a link to `/etc` and then name
`a/passwd`. Here every name on the way to a folder is opened from the one above it and must be a
folder itself, so nothing outside the root is ever reached. Not with `openat2`, which would do it in
one call: Python 3.11 has none, and a folder is opened once for all that is in it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

OPENED_MAX = 64
"""Trees are walked folder by folder: more would seldom be asked for again."""
OPEN_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """Open folders by their paths. For one thread; blocks."""

    def __init__(self, root_fd: int, *, opened_max: int = OPENED_MAX) -> None:
        """Take over nothing: the root's descriptor stays its owner's."""
        self._root_fd = root_fd
        self._opened_max = opened_max
        self._opened: OrderedDict[bytes, int] = OrderedDict()

    def open(self, path: bytes) -> int:
        """Return a folder's descriptor, which is good until the next call. Raises OSError."""
        if not path:
            return self._root_fd
        found = self._opened.get(path)
        if found is not None:
            self._opened.move_to_end(path)
            return found
        known = path
        while (known := known.rpartition(b"/")[0]) and known not in self._opened:
            pass
        fd = self._opened[known] if known else self._root_fd
        for end in _ends(path, len(known)):
            fd = os.open(path[:end].rpartition(b"/")[2], OPEN_FLAGS, dir_fd=fd)
            self._keep(path[:end], fd)
        return fd

    def _keep(self, path: bytes, fd: int) -> None:
        self._opened[path] = fd
        if len(self._opened) > self._opened_max:
            os.close(self._opened.popitem(last=False)[1])

    def close(self) -> None:
        while self._opened:
            os.close(self._opened.popitem()[1])

    def __enter__(self) -> Folders:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _ends(path: bytes, known: int) -> list[int]:
    """Return where the names of a path end that come after its first `known` bytes."""
    ends = []
    at = path.find(b"/", known + 1)
    while at != -1:
        ends.append(at)
        at = path.find(b"/", at + 1)
    return [*ends, len(path)]
