"""Objects as files of a folder, durable: a disk, NFS, Lustre; whatever has `link(2)`. Blocking.

Order of a creation, each step a promise for the next:

1. A file without a name (`O_TMPFILE`), or with one that no listing shows where the file system has
   no such files, is written and synced: its content is durable before it has a name.
2. `link(2)` gives it the name. It fails if the name is taken, in one step, on NFS too; `rename`
   would overwrite, and `O_EXCL` would show a file that is still being written.
3. The folder is synced, and so was every folder above it: the name is durable.

obstore's own store for folders does 1 and 2 and syncs nothing, so that after a power cut an object
that was reported as created may be empty or gone.

Everything is looked up from one descriptor of the work directory, so nothing is ever written into
the empty folder that an unmounted file system leaves behind.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from checkpoints.storage.failures import (
    AlreadyThereError,
    StorageAwayError,
    StorageBrokenError,
    require_whole,
)
from checkpoints.storage.storage import WHOLE_BYTES_MAX, Listed, is_key

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from checkpoints.storage.storage import Range

HIDDEN_SUFFIX = ".part"
"""Of files that are being written where there are no nameless ones. They begin with a dot, so they
are no keys. A crash leaves one behind, which nobody reads."""

NO_NAMELESS_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL}
"""What a file system or kernel without `O_TMPFILE` answers."""

NOTHING_BELOW = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}
"""What opening a folder answers that isn't there, or is a symbolic link back up, once too often."""

READ_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""A FIFO that somebody put there must not hang the thread."""

FOLDER_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY


class Files:
    """The files below `folder`, made when needed, of a work directory that must exist.

    Raises OSError as the system does, and StorageError where it knows better.
    """

    def __init__(self, work_directory: Path, folder: str = "") -> None:
        self._path = work_directory.absolute()
        self._root = os.open(work_directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._folder = f"{folder}/" if folder else ""
        self._durable: set[str] = set()

    def close(self) -> None:
        os.close(self._root)

    def read_all(self, key: str) -> bytes:
        with self._open(key) as fd:
            size = os.fstat(fd).st_size
            require_whole(size, key, WHOLE_BYTES_MAX)
            return _read(fd, key, 0, size)

    def read(self, key: str, start: int, length: int) -> bytes:
        with self._open(key) as fd:
            return _read(fd, key, start, length)

    def read_suffix(self, key: str, length: int) -> bytes:
        with self._open(key) as fd:
            size = os.fstat(fd).st_size
            return _read(fd, key, max(0, size - length), min(size, length))

    def read_ranges(self, key: str, ranges: Sequence[Range]) -> Sequence[bytes]:
        # Not coalesced: a call costs microseconds, and the system reads ahead. Cutting would copy
        # everything once more, and hold up the event loop (the GIL is held) while it does.
        with self._open(key) as fd:
            return [_read(fd, key, wanted.start, wanted.length) for wanted in ranges]

    def measure(self, key: str) -> int:
        with self._open(key) as fd:
            return os.fstat(fd).st_size

    def create(self, key: str, data: bytes) -> None:
        self._assert_there("put_new", key)
        folder, _, name = (self._folder + key).rpartition("/")
        self._make_durable(folder)
        with self._open_folder(folder) as folder_fd:
            with _unlisted_file(folder_fd) as (fd, path):
                _write(fd, data)
                os.fsync(fd)
                created = _link(fd, path, name, folder_fd)
            # Also if it was taken: who learns that an object is there may rely on it.
            os.fsync(folder_fd)
        if not created:
            raise AlreadyThereError(f"{key} is there already", operation="put_new", key=key)

    def remove(self, key: str) -> None:
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._folder + key, dir_fd=self._root)

    def walk(self, prefix: str, after: str) -> Iterator[Listed]:
        """Yield what lies below `prefix`, in the order of keys: one folder a level in memory."""
        self._assert_there("list", prefix)
        for name, status in self._entries(self._folder + prefix):
            key = prefix + name
            if status is None:
                # A folder: all its keys begin with its own, and may lie on both sides of `after`.
                if is_key(key[:-1]) and (key > after or after.startswith(key)):
                    yield from self.walk(key, after)
            elif key > after and is_key(key):
                modified = datetime.fromtimestamp(status.st_mtime_ns / 1e9, UTC)
                yield Listed(key, status.st_size, modified)

    def _entries(self, folder: str) -> Sequence[tuple[str, os.stat_result | None]]:
        """Return files with their status and folders without, in the order of their keys.

        A folder's name ends in a slash here: `a-b` lies before what is in `a`, as `-` does before
        the slash.
        """
        try:
            with self._open_folder(folder) as fd, os.scandir(fd) as entries:
                found = [pair for entry in entries if (pair := _described(entry)) is not None]
        except OSError as error:
            if error.errno not in NOTHING_BELOW:
                raise
            return []
        return sorted(found, key=lambda pair: pair[0])

    def _make_durable(self, folder: str) -> None:
        """Make a folder and those above it, and sync their names.

        Once in a process for each, even if it exists: whoever made it may not have synced it yet.
        """
        if folder in self._durable or not folder:
            return
        above = folder.rpartition("/")[0]
        self._make_durable(above)
        with suppress(FileExistsError):
            os.mkdir(folder, dir_fd=self._root)
        with self._open_folder(above) as fd:
            os.fsync(fd)
        self._durable.add(folder)

    @contextmanager
    def _open(self, key: str) -> Iterator[int]:
        try:
            fd = os.open(self._folder + key, READ_FLAGS, dir_fd=self._root)
        except FileNotFoundError:
            self._assert_there("get", key)
            raise
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a file", key)
            yield fd
        finally:
            os.close(fd)

    @contextmanager
    def _open_folder(self, folder: str) -> Iterator[int]:
        try:
            fd = os.open(folder or ".", FOLDER_FLAGS, dir_fd=self._root)
        except FileNotFoundError:
            self._durable.clear()  # somebody removed folders: the next creation makes them again
            raise
        try:
            yield fd
        finally:
            os.close(fd)

    def _assert_there(self, operation: str, key: str) -> None:
        """Tell "there is no such object" from "there is no work directory any more".

        What is kept open could be written to wherever it was moved, or after its disk was
        unmounted; but nobody would find there what was said to be safe.
        """
        status = os.fstat(self._root)
        if status.st_nlink == 0:
            sentence = "The work directory's folder was deleted: restore it, then start again."
            raise StorageAwayError(sentence, operation=operation, key=key)
        try:
            found = os.stat(self._path)
        except OSError:
            found = None
        if found is None or not os.path.samestat(found, status):
            sentence = (
                f"The work directory is not at {self._path} any more: move it back, or mount it "
                "again and start again."
            )
            raise StorageAwayError(sentence, operation=operation, key=key)


def _described(entry: os.DirEntry[str]) -> tuple[str, os.stat_result | None] | None:
    """Return a file or folder that may be ours; None for what isn't, or is gone meanwhile."""
    if not is_key(entry.name):
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        return f"{entry.name}/", None
    return (entry.name, status) if stat.S_ISREG(status.st_mode) else None


def _read(fd: int, key: str, start: int, length: int) -> bytes:
    data = os.pread(fd, length, start)
    if len(data) == length:
        return data
    # Large reads may come in pieces (a signal, a network file system).
    pieces = [data]
    missing = length - len(data)
    while missing:
        piece = os.pread(fd, missing, start + length - missing)
        if not piece:
            sentence = f"{key} ends {missing} bytes before the end of what was to be read"
            raise StorageBrokenError(sentence, operation="get", key=key)
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


@contextmanager
def _unlisted_file(folder_fd: int) -> Iterator[tuple[int, str]]:
    """Give a new file that no listing shows, and its name ("" if it has none)."""
    name = ""
    try:
        fd = os.open(".", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666, dir_fd=folder_fd)
    except OSError as error:
        if error.errno not in NO_NAMELESS_FILES:
            raise
        name = f".{secrets.token_hex(8)}{HIDDEN_SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o666, dir_fd=folder_fd)
    try:
        yield fd, name
    finally:
        os.close(fd)
        if name:
            os.unlink(name, dir_fd=folder_fd)


def _link(fd: int, path: str, name: str, folder_fd: int) -> bool:
    """Name the file; False if the name is taken by another."""
    links = os.fstat(fd).st_nlink
    try:
        if path:
            os.link(path, name, src_dir_fd=folder_fd, dst_dir_fd=folder_fd, follow_symlinks=False)
        else:
            os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=folder_fd, follow_symlinks=True)
    except FileExistsError:
        # An NFS client that repeats a request whose answer was lost is told so of its own link.
        return os.fstat(fd).st_nlink > links
    return True
