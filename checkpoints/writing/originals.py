"""Reads a snapshot's files out of the memory that has their originals: the live files.

The kernel caches a snapshot's files apart from those that it is a copy of, so whatever was written
a minute ago would be read from the disk, file by file. A copy and its original have the same
extents until somebody writes to the original: then the kernel puts that elsewhere, never in place.
So what was read from an original is the copy's content if afterwards

- nobody has it open to write (only then the kernel gives a lease): no write is half done;
- all that was written has its extents (FIEMAP_FLAG_SYNC waits for that), and these are the copy's:
  the copy keeps them, so they can't have been used again;
- its ctime is the copy's: nobody has given it others, and these back.

Times alone would not do: a write moves them when it begins, and may go on for seconds. If anything
differs, or can't be asked, the copy is read.

The lease is needed for another reason, too. The kernel answers about extents when no write is under
way, and one may hang in what it takes its data from, such as a mapped file of a dead data link.
Somebody who opens the file just then waits until the lease is given back. Where the agent lacks
CAP_LEASE, files that aren't its own get none.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
from functools import partial
from typing import TYPE_CHECKING

from checkpoints.writing.chunking import read_fully
from checkpoints.writing.volume import Volume, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from checkpoints.writing.chunking import Read

IN_TREES_BYTES_MAX = 2048
"""btrfs has files of up to so many bytes in its trees, which snapshots share in memory as well."""
EXTENTS_MAX = 16
"""Asked about at once. Of what lies in more pieces, the copy is read. The request stays below the
kilobyte up to which `ioctl` lets other threads run."""

_SET_SIGNAL = 10  # asm-generic/fcntl.h: F_SETSIG, for whoever has a lease that is wanted back
_FIEMAP = 0xC020660B  # linux/fs.h: FS_IOC_FIEMAP
_SYNC = 1  # linux/fiemap.h: FIEMAP_FLAG_SYNC
_LAST, _SHARED = 0x1, 0x2000
_REQUEST = struct.Struct("<QQIIII")
_EXTENT = struct.Struct("<QQQ16xI12x")
_EMPTY = bytes(EXTENTS_MAX * _EXTENT.size)


class Originals:
    """The live folder that a snapshot is a copy of. Threads may share it."""

    def __init__(self, folder: Path) -> None:
        """Open it. Raises OSError."""
        self._volume = Volume(folder)
        self._lend_nothing: set[int] = set()
        """Owners of whose files nobody here gets a lease."""

    def close(self) -> None:
        self._volume.close()

    @contextlib.contextmanager
    def folder(self, path: bytes) -> Iterator[int | None]:
        """Give the descriptor of the folder at this path; None if none is there any more."""
        with contextlib.ExitStack() as stack:
            try:
                fd = stack.enter_context(self._volume.folder(path))
            except OSError:
                fd = None
            yield fd

    def open(
        self, name: bytes, folder_fd: int, copy_fd: int, copy: os.stat_result
    ) -> Original | None:
        """Return the original of an open copy if it is there and nobody has touched it."""
        if copy.st_uid in self._lend_nothing:
            return None
        try:
            # Looked at before it is opened: a pipe in its place would be taken for read.
            there = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
            if there.st_dev != self._volume.device or not _is_untouched(there, copy):
                return None
            return Original(open_file(name, folder_fd), copy_fd, copy, self._lend_nothing)
        except OSError:  # it has just gone, or is lent to somebody
            return None


class Original:
    """An open original, with its copy. Belongs to one thread."""

    def __init__(self, fd: int, copy_fd: int, copy: os.stat_result, lend_nothing: set[int]) -> None:
        self._fd = fd
        self._lend_nothing = lend_nothing
        self._copy_fd = copy_fd
        self._copy = copy
        self._is_copied = True

    def close(self) -> None:
        os.close(self._fd)

    def read(self, offset: int, length: int) -> bytes:
        """Return what the copy has there, from whichever of the two. Raises OSError."""
        if self._is_copied:
            try:
                data = read_fully(self._fd, offset, length)
                if self._is_still_copied(offset, length):
                    return data
            except PermissionError:  # CAP_LEASE is missing
                self._lend_nothing.add(self._copy.st_uid)
            except OSError:  # somebody writes to it; of other troubles, the copy tells
                pass
            self._is_copied = False
        return read_fully(self._copy_fd, offset, length)

    def _is_still_copied(self, offset: int, length: int) -> bool:
        """Tell if what was read there is the copy's. In this order. Raises OSError."""
        fcntl.fcntl(self._fd, _SET_SIGNAL, signal.SIGURG)  # ignored, as SIGIO is not
        fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        try:
            extents = _extents(self._fd, offset, length)
        finally:
            fcntl.fcntl(self._fd, fcntl.F_SETLEASE, fcntl.F_UNLCK)
        return (
            _is_plain(extents, offset + length)
            and extents == _extents(self._copy_fd, offset, length)
            and _is_untouched(os.fstat(self._fd), self._copy)
        )


def _is_untouched(original: os.stat_result, copy: os.stat_result) -> bool:
    """Tell if it is the same file, and nobody has begun to change it."""
    return (
        original.st_ino == copy.st_ino
        and original.st_ctime_ns == copy.st_ctime_ns
        and original.st_size == copy.st_size
        and original.st_mode == copy.st_mode
    )


def _extents(fd: int, offset: int, length: int) -> bytes:
    """Return the kernel's answer: its head, and an entry for each extent there. Raises OSError."""
    answer = bytearray(_REQUEST.pack(offset, length, _SYNC, 0, EXTENTS_MAX, 0) + _EMPTY)
    fcntl.ioctl(fd, _FIEMAP, answer)
    return bytes(answer)


def _is_plain(extents: bytes, end: int) -> bool:
    """Tell if all up to `end` is in extents that are somewhere for good, and as they are read.

    Those that aren't yet, those in the trees, and compressed ones are told by other flags.
    """
    count = _REQUEST.unpack_from(extents)[3]
    last = (0, 0, 0, 0)
    for number in range(count):
        last = _EXTENT.unpack_from(extents, _REQUEST.size + number * _EXTENT.size)
        if last[3] & ~(_LAST | _SHARED):
            return False
    return count > 0 and (count < EXTENTS_MAX or last[0] + last[2] >= end)


@contextlib.contextmanager
def beside(originals: Originals | None, path: bytes) -> Iterator[int | None]:
    """Give the folder in which the originals of one folder's files are, if there is one."""
    if originals is None:
        yield None
        return
    with originals.folder(path) as fd:
        yield fd


@contextlib.contextmanager
def reading(
    originals: Originals | None,
    name: bytes,
    folder_fd: int | None,
    copy_fd: int,
    status: os.stat_result,
) -> Iterator[Read]:
    """Give what reads an open file that has this status, from its original where that can be.

    `folder_fd` is the folder in which its original would be.
    """
    original = None
    if originals is not None and folder_fd is not None and status.st_size > IN_TREES_BYTES_MAX:
        original = originals.open(name, folder_fd, copy_fd, status)
    if original is None:
        yield partial(read_fully, copy_fd)
        return
    try:
        yield original.read
    finally:
        original.close()
