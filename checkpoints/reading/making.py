"""Names made in a folder, in the order of a tree: all of it but the content of larger files.

Folders are made before what is in them, for their keys are smaller. Whoever restores fills the
files that `make` returns, and completes folders when nothing will be made in them any more.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, assert_never

from checkpoints.format.damage import DamagedError
from checkpoints.reading.attributes import give_to_name, give_to_open
from checkpoints.reading.failures import translated
from checkpoints.tree.entry import Device, Entry, Extents, Inline, Kind, Target
from checkpoints.tree.keys import ROOT_KEY, path_of

if TYPE_CHECKING:
    from checkpoints.reading.folders import Folders
    from checkpoints.tree.keys import Key

CREATE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
UNFINISHED_MODE = 0o600
"""Of files and folders before they are complete: nobody else looks into them."""
WHITEOUT = os.makedev(0, 0)


class File:
    """A file whose content comes later, in pieces, in whatever order."""

    __slots__ = ("entry", "folder", "is_made", "left", "name", "problem")

    def __init__(self, folder: bytes, name: bytes, entry: Entry, *, is_made: bool) -> None:
        self.folder = folder
        self.name = name
        self.entry = entry
        self.is_made = is_made
        """Whether it is there, and as long as it will be; otherwise its only piece makes it."""
        self.left = 1
        """How many pieces are missing; and one, until all are known."""
        self.problem = ""
        """Why it can't be completed."""

    @property
    def path(self) -> bytes:
        return self.folder + b"/" + self.name if self.folder else self.name


class Names:
    """Makes what a tree has, in a folder. For one thread; blocks."""

    def __init__(self, folders: Folders, invented: set[bytes] | None = None) -> None:
        """Add to `invented`, if given, folders that the tree doesn't have, and make them."""
        self._folders = folders
        self._invented = invented
        self._first_names: dict[int, tuple[bytes, bytes]] = {}
        """Of files with several: by inode number. Grows with their number and no other's."""

    def make(self, key: Key, entry: Entry) -> File | None:
        """Make one name; return a file that is still without content. Raises RestoreError."""
        if key == ROOT_KEY:
            return None
        try:
            folder, _, name = key.partition(b"\0")
            self._need(folder)
            if entry.several_names:
                first = self._first_names.setdefault(entry.inode, (folder, name))
                if first != (folder, name):
                    self._link(first, folder, name)
                    return None
            return self._make(folder, name, entry)
        except OSError as error:
            raise translated(error, path_of(key), "made") from error

    def _need(self, folder: bytes) -> None:
        if self._invented is None:
            return
        try:
            self._folders.open(folder)
        except FileNotFoundError:
            above, _, name = folder.rpartition(b"/")
            self._need(above)
            os.mkdir(name, UNFINISHED_MODE | stat.S_IXUSR, dir_fd=self._folders.open(above))
            self._invented.add(folder)

    def _make(self, folder: bytes, name: bytes, entry: Entry) -> File | None:
        at = self._folders.open(folder)
        match entry.kind:
            case Kind.FILE:
                return _make_file(at, folder, name, entry)
            case Kind.FOLDER:
                os.mkdir(name, UNFINISHED_MODE | stat.S_IXUSR, dir_fd=at)
            case Kind.DELETION:
                os.mknod(name, stat.S_IFCHR, WHITEOUT, dir_fd=at)
            case Kind.SYMBOLIC_LINK:
                assert isinstance(entry.content, Target)
                os.symlink(entry.content.path, name, dir_fd=at)
                give_to_name(at, name, entry)
            case Kind.FIFO | Kind.SOCKET | Kind.CHARACTER_DEVICE | Kind.BLOCK_DEVICE:
                device = entry.content
                number = os.makedev(device.major, device.minor) if isinstance(device, Device) else 0
                if entry.kind is Kind.CHARACTER_DEVICE and number == WHITEOUT:
                    raise DamagedError(f"{name!r} is a device that would hide what is below it")
                os.mknod(name, TYPES[entry.kind] | UNFINISHED_MODE, number, dir_fd=at)
                give_to_name(at, name, entry)
            case _:
                assert_never(entry.kind)
        return None

    def _link(self, first: tuple[bytes, bytes], folder: bytes, name: bytes) -> None:
        source = os.dup(self._folders.open(first[0]))
        try:
            target = self._folders.open(folder)
            os.link(first[1], name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
        finally:
            os.close(source)


TYPES = {
    Kind.FIFO: stat.S_IFIFO,
    Kind.SOCKET: stat.S_IFSOCK,
    Kind.CHARACTER_DEVICE: stat.S_IFCHR,
    Kind.BLOCK_DEVICE: stat.S_IFBLK,
}


def _make_file(at: int, folder: bytes, name: bytes, entry: Entry) -> File | None:
    content = entry.content
    if isinstance(content, Extents) and _is_one_chunk(content) and not entry.several_names:
        return File(folder, name, entry, is_made=False)
    mode = created_mode(entry) if isinstance(content, Inline) else UNFINISHED_MODE
    fd = os.open(name, CREATE_FLAGS, mode, dir_fd=at)
    try:
        if isinstance(content, Inline):
            if content.data:
                os.write(fd, content.data)
        elif entry.size_bytes:
            os.truncate(fd, entry.size_bytes)
            return File(folder, name, entry, is_made=True)
        give_to_open(fd, entry)
    finally:
        os.close(fd)
    return None


def created_mode(entry: Entry) -> int:
    """Return what a file is made with that is complete before it is closed.

    It spares a change of the mode mostly. Setuid comes with the owner; without a right to write,
    who makes a file may write to it all the same.
    """
    return entry.mode & 0o777


def _is_one_chunk(content: Extents) -> bool:
    return len(content.extents) == 1 and content.extents[0].chunk_id is not None


def unknown_folder() -> Entry:
    """Return what a folder gets of which only is known that there is one: its maker's, open."""
    return Entry(kind=Kind.FOLDER, mode=0o755, user=os.geteuid(), group=os.getegid())


def complete_folder(folders: Folders, key: Key, entry: Entry) -> None:
    """Give a folder what it has, now that nothing more is made in it. Raises RestoreError."""
    try:
        give_to_open(folders.open(path_of(key)), entry)
    except OSError as error:
        raise translated(error, path_of(key), "completed") from error
