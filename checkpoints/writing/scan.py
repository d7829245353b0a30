"""Walks a folder in the order of a tree's keys, so that trees are built as it goes.

Keys are ordered by folder first: all of `a`, then all of `a.b`, then all of `a/b`. A heap of the
folders that were seen and not listed yet gives that order, because what is in a folder comes after
it. So no more is in memory than the listing of one folder, and the names of waiting ones.
"""

from __future__ import annotations

import heapq
import os
import stat
from typing import TYPE_CHECKING

import msgspec

from checkpoints.tree.entry import Content, Device, Entry, Kind, Target, deletion, inode_of
from checkpoints.tree.keys import ROOT_KEY, Key, name_of
from checkpoints.writing.volume import GONE, attributes_of_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from checkpoints.writing.volume import Attributes, Volume

FORMAT = 0o170000
"""The bits of a mode that say what it is."""
KINDS = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.FOLDER,
    stat.S_IFLNK: Kind.SYMBOLIC_LINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
    stat.S_IFSOCK: Kind.SOCKET,
}


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A name in the folder, and what `lstat` says of it."""

    key: Key
    status: os.stat_result
    opaque: bool = False
    """A folder of which this is so, whatever it says itself."""

    @property
    def kind(self) -> Kind:
        kind = KINDS[self.status.st_mode & FORMAT]
        if kind is Kind.CHARACTER_DEVICE and is_whiteout(self.status):
            return Kind.DELETION
        return kind


def is_whiteout(status: os.stat_result) -> bool:
    """Return whether overlay means by it that there is nothing."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def walk(volume: Volume, path: bytes = b"") -> Iterator[Seen]:
    """Yield a folder, or whatever is at the path, and all below it, ascending by key."""
    for key, status in statuses(volume, path):
        yield Seen(key, status)


def statuses(volume: Volume, path: bytes = b"") -> Iterator[tuple[Key, os.stat_result]]:
    """Yield the same as `walk`, without an object for each name."""
    status = volume.status(path)
    if status is None:
        return
    folder, _, name = path.rpartition(b"/")
    yield Key(folder + b"\0" + name) if path else ROOT_KEY, status
    device = volume.device
    waiting = [path + b"\0"] if stat.S_ISDIR(status.st_mode) and status.st_dev == device else []
    while waiting:
        prefix = heapq.heappop(waiting)
        folder = prefix[:-1]
        start = folder + b"/" if folder else b""
        for name, status in volume.listing(folder):
            yield Key(prefix + name), status
            if status.st_mode & FORMAT == stat.S_IFDIR and status.st_dev == device:
                heapq.heappush(waiting, start + name + b"\0")


def entry_of(seen: Seen, folder_fd: int, volume: int) -> Entry | None:
    """Return the entry of anything but a file; None if it is gone. Raises RefusedError."""
    if is_whiteout(seen.status):
        return deletion(volume)
    name = name_of(seen.key)
    status = seen.status
    kind = seen.kind
    content: Target | Device | None = None
    try:
        attributes = attributes_of_name(folder_fd, name, seen.key)
        if kind is Kind.SYMBOLIC_LINK:
            content = Target(path=os.readlink(name, dir_fd=folder_fd))
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None
    if kind in {Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE}:
        content = Device(major=os.major(status.st_rdev), minor=os.minor(status.st_rdev))
    entry = described(kind, status, attributes, content, volume)
    return msgspec.structs.replace(entry, opaque=True) if seen.opaque else entry


def described(
    kind: Kind,
    status: os.stat_result,
    attributes: Attributes,
    content: Content,
    volume: int,
) -> Entry:
    """Return an entry with what `lstat` and attributes say, and some content."""
    is_folder = kind is Kind.FOLDER
    return Entry(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        user=status.st_uid,
        group=status.st_gid,
        modified_ns=status.st_mtime_ns,
        changed_ns=status.st_ctime_ns,
        inode=inode_of(volume, status.st_ino),
        opaque=is_folder and attributes.opaque,
        several_names=not is_folder and status.st_nlink > 1,
        attributes=attributes.kept,
        content=content,
    )
