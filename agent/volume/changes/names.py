"""From an inode's number to its paths, within one folder of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.volume.btrfs_calls import SUBVOLUME_INODE
from agent.volume.changes.inode_items import INODE_EXTREF, INODE_REF, names_of
from agent.volume.changes.tree_search import (
    LOOKUP_BYTES,
    NUMBER_MAX,
    SAME_TREE,
    Key,
    TreeSearch,
)
from agent.volume.changes.unknown import ChangesUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.volume.changes.inode_items import Name

PATH_BYTES_MAX = 4095
"""The kernel takes no longer one, so it is never saved."""
FOLDERS_BYTES_MAX = 64 * 1024**2
"""Of all folders' paths. 250 000 have 30 MB; a chain of them, made to be expensive, far more."""
NAME_KINDS = frozenset({INODE_REF, INODE_EXTREF})

_KEPT_BYTES = 64  # that a path takes besides its own
_LEVELS_MAX = PATH_BYTES_MAX // 2  # each takes a byte and a slash


class Names:
    """Names of a snapshot's inodes. For one thread."""

    def __init__(self, fd: int, upper: int) -> None:
        """Paths are relative to the folder `upper`, an inode's number."""
        self._upper = upper
        self._search = TreeSearch(fd, SAME_TREE, buffer_bytes=LOOKUP_BYTES)
        self._folders: dict[int, bytes | None] = {SUBVOLUME_INODE: None, upper: b""}
        self._bytes = 0

    def all_of(self, number: int, count: int) -> list[Name]:
        """Return all names of an inode that has so many. Raises OSError, ChangesUnknownError."""
        found: list[Name] = []
        first, last = Key(number, INODE_REF), Key(number, INODE_EXTREF, NUMBER_MAX)
        for item in self._search.items(first, last, NAME_KINDS):
            found.extend(names_of(item.kind, item.offset, item.data))
            if len(found) == count:
                return found
        raise ChangesUnknownError(
            f"the volume's inode {number} should have {count} names and has {len(found)}; all "
            "files are compared instead"
        )

    def paths(self, number: int, names: Iterable[Name]) -> Iterator[bytes]:
        """Yield the paths that an inode's names come to. Raises as `all_of`."""
        if number == self._upper:
            yield b""
            return
        for name in names:
            folder = self.folder(name.folder)
            path = None if folder is None else joined(folder, name.name)
            if path is not None:
                yield path

    def folder(self, number: int) -> bytes | None:
        """Return a folder's path; None outside of the folder, or too long. Raises as `all_of`."""
        chain: list[tuple[int, bytes]] = []
        while number not in self._folders:
            if len(chain) == _LEVELS_MAX:
                return self._keep(chain[0][0], None)
            (name,) = self.all_of(number, 1)
            chain.append((number, name.name))
            number = name.folder
        path = self._folders[number]
        for below, last in reversed(chain):
            path = None if path is None else joined(path, last)
            self._keep(below, path)
        return path

    def _keep(self, number: int, path: bytes | None) -> bytes | None:
        self._bytes += _KEPT_BYTES + len(path or b"")
        if self._bytes > FOLDERS_BYTES_MAX:
            raise ChangesUnknownError("the changed paths are too long to list; all are compared")
        self._folders[number] = path
        return path


def joined(folder: bytes, name: bytes) -> bytes | None:
    """Return the path of a name in a folder; None if it is too long."""
    path = folder + b"/" + name if folder else name
    return path if len(path) <= PATH_BYTES_MAX else None
