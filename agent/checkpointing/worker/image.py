"""Which names the folders below a restored layer have: what a deletion in it would hide.

An overlay merges a folder only if several layers have it. One that a single layer has is listed as
it is, deletions and all: names of which nobody knows what they are, and that can't be removed. So a
deletion is only made where it hides something.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_OPAQUE = "trusted.overlay.opaque"


class Image:
    """Layers, topmost first. Blocks. Links are never followed: a path leads where it says."""

    def __init__(self, layers: Sequence[str]) -> None:
        self._layers = [os.fsencode(layer) for layer in layers]
        self._folder: bytes | None = None
        self._found: list[bytes] = []

    def has(self, path: bytes) -> bool:
        """Return whether all of these layers together, without any above, show a name there.

        Raises OSError. Of a path that is too long to be asked for it is assumed.
        """
        try:
            return self._has(path)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return True

    def _has(self, path: bytes) -> bool:
        folder, _, name = path.rpartition(b"/")
        if folder != self._folder:  # those of one folder come one after the other
            self._found = self._merged(folder)
            self._folder = folder
        for layer in self._found:
            status = _status(layer + b"/" + name)
            if status is not None:
                return not _is_deletion(status)
        return False

    def _merged(self, folder: bytes) -> list[bytes]:
        """Return the folders of the layers that together are what is seen there, topmost first."""
        found = self._layers
        for name in folder.split(b"/") if folder else ():
            inside = []
            for layer in found:
                path = layer + b"/" + name
                status = _status(path)
                if status is None:
                    continue
                if not stat.S_ISDIR(status.st_mode):
                    break
                inside.append(path)
                if _is_opaque(path):
                    break
            found = inside
        return found


def _status(path: bytes) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_deletion(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(path: bytes) -> bool:
    try:
        return os.getxattr(path, _OPAQUE) == b"y"
    except OSError:
        return False
