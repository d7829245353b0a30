"""The folder that is written: listed, looked into and opened, without leaving it.

Whoever works in it may exchange what is there for links while it is read. So folders are opened by
`openat2`, which follows no link and leaves neither the folder nor its file system, and what is in
them by its last name alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from checkpoints.tree.entry import OVERLAY, RefusedError, is_attribute_name
from checkpoints.tree.keys import NAME_BYTES_MAX, path_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checkpoints.tree.keys import Key

_OPENAT2 = 437
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
_FILE_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
_RESOLVE_NO_XDEV, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x01, 0x04, 0x08
_RESOLVE = _RESOLVE_NO_XDEV | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH

GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ESTALE, errno.ENXIO}
"""What opening answers of what was there a moment ago, and now is not, or is something else."""
PATH_BYTES_MAX = 4095
"""The kernel takes no longer one. Programs make such all the same, folder by folder."""
NO_ATTRIBUTES = {errno.ENOTSUP, errno.ENODATA, errno.EPERM}

OPAQUE = "trusted.overlay.opaque"
REFUSED = {b"redirect", b"metacopy", b"whiteout"}
"""They say that content is elsewhere, so an entry would not be what is seen."""


_ENCODING = sys.getfilesystemencoding()  # what `os.fsencode` asks for each time


class _How(ctypes.Structure):
    _fields_ = [  # type: ignore[mutable-override]  # as ctypes has it
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


_libc = ctypes.CDLL(None, use_errno=True)
_how = _How(_FOLDER_FLAGS, 0, _RESOLVE)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What extended attributes say."""

    kept: tuple[tuple[bytes, bytes], ...] = ()
    """Names and values, ascending by name, without overlay's own."""
    opaque: bool = False


class Volume:
    """A folder on the kernel. Threads may share it."""

    def __init__(self, folder: Path, number: int = 0) -> None:
        """Open it. Raises OSError."""
        self.number = number
        self._root = os.open(folder, _FOLDER_FLAGS)
        self.device = os.fstat(self._root).st_dev
        self._too_long: dict[int, int] = {}
        """Hashes of folders, and how many names in each were left out."""

    def close(self) -> None:
        os.close(self._root)

    @contextmanager
    def folder(self, path: bytes) -> Iterator[int]:
        """Give a folder's descriptor. Raises OSError."""
        fd = _libc.syscall(
            _OPENAT2, self._root, path or b".", ctypes.byref(_how), ctypes.sizeof(_how)
        )
        if fd < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error), path)
        try:
            yield fd
        finally:
            os.close(fd)

    def listing(self, path: bytes) -> list[tuple[bytes, os.stat_result]]:
        """Return what is in a folder with its status, ascending by name.

        What another file system is mounted on is left out, but for a folder: its own entry stands.
        So is, and counted, what has too long a path. Nothing if the folder is no more.
        """
        found = []
        device = self.device
        try:
            with self.folder(path) as fd, os.scandir(fd) as entries:
                for entry in entries:
                    try:
                        status = entry.stat(follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    if status.st_dev == device or stat.S_ISDIR(status.st_mode):
                        found.append((entry.name.encode(_ENCODING, "surrogateescape"), status))
        except OSError as error:
            if error.errno not in GONE:
                raise
            return []
        found.sort()  # names differ, so statuses are never compared
        room = PATH_BYTES_MAX - len(path) - (1 if path else 0)
        return found if room >= NAME_BYTES_MAX else self._short(path, found, room)

    @property
    def too_long(self) -> int:
        """How many names were left out by now, each with all below it."""
        return sum(self._too_long.values())

    def _short(
        self, path: bytes, found: list[tuple[bytes, os.stat_result]], room: int
    ) -> list[tuple[bytes, os.stat_result]]:
        short = [(name, status) for name, status in found if len(name) <= room]
        if len(short) < len(found):
            self._too_long[hash(path)] = len(found) - len(short)
        return short

    def is_opaque(self, path: bytes) -> bool:
        """Return whether a folder hides the names that layers below it have; no if it is gone."""
        try:
            with self.folder(path) as fd:
                return _value(fd, OPAQUE, follow=True) == b"y"
        except OSError as error:
            if error.errno not in GONE:
                raise
            return False

    def status(self, path: bytes) -> os.stat_result | None:
        """Return what is at a path; None if there is nothing, or not of this file system."""
        folder, _, name = path.rpartition(b"/")
        try:
            if not path:
                return os.fstat(self._root)
            with self.folder(folder) as fd:
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in GONE:
                raise
            return None
        is_here = found.st_dev == self.device or stat.S_ISDIR(found.st_mode)
        return found if is_here else None


def open_file(name: bytes, folder_fd: int) -> int:
    """Open a regular file, or whatever took its place: the caller asks its status."""
    return os.open(name, _FILE_FLAGS, dir_fd=folder_fd)


def attributes_of_file(fd: int, key: Key) -> Attributes:
    """Return the attributes of what is open. Raises RefusedError."""
    return _attributes(fd, key)


def attributes_of_name(folder_fd: int, name: bytes, key: Key) -> Attributes:
    """Return the attributes of what a name in a folder stands for, not of what it links to."""
    return _attributes(b"/proc/self/fd/%d/%b" % (folder_fd, name or b"."), key)


def _attributes(target: int | bytes, key: Key) -> Attributes:
    follow = isinstance(target, int)
    try:
        listed = os.listxattr(target, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in NO_ATTRIBUTES:
            raise
        return _NONE
    if not listed:
        return _NONE
    kept = []
    opaque = False
    for text in listed:
        name = os.fsencode(text)
        if not is_attribute_name(name):
            own = name.removeprefix(OVERLAY)
            if own in REFUSED:
                raise RefusedError(
                    f"{path_of(key)!r} has the attribute {text}: what it shows is elsewhere. "
                    "Mount the overlay without redirect_dir and metacopy."
                )
            opaque = opaque or (own == b"opaque" and _value(target, text, follow=follow) == b"y")
            continue
        value = _value(target, text, follow=follow)
        if value is not None:
            kept.append((name, value))
    return Attributes(tuple(sorted(kept)), opaque)


def _value(target: int | bytes, name: str, *, follow: bool) -> bytes | None:
    try:
        return os.getxattr(target, name, follow_symlinks=follow)
    except OSError as error:
        if error.errno not in NO_ATTRIBUTES:
            raise
        return None


_NONE = Attributes()
