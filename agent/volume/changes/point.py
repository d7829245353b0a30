"""What to remember of a snapshot, and which other one may be compared with it.

Every transaction of btrfs has a number, the *generation*, which only grows. Making a snapshot ends
one: the kernel lets nobody begin to write, takes the snapshot, and lets writers go on in the next.
So the generation that the snapshot was made in says it all: what has that number or a lower one is
in the snapshot, what is written to the volume afterwards has a higher one. There is nothing between
(the kernel's `create_pending_snapshots`). A snapshot's own generation would not do: it moves on
when the kernel drops from the snapshot what was deleted but held open, and when the volume shrinks.

That holds for one line of snapshots, those of one volume. A snapshot names the subvolume that it
was taken of by the random id that this was given when it was made: a volume made anew is another
line. What no id tells is an image that somebody has put back as it was some time ago: it has the
same ids, and reaches the same generations again with other content. If that may happen, keep the
point in the volume (then it goes back, too) and compare the record that it belongs to with the
newest one.
"""

from __future__ import annotations

import os
import struct
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from agent.volume import syscalls
from agent.volume.changes.unknown import ChangesUnknownError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

UPPER = "upper"

_MAGIC = 0x94  # linux/btrfs.h
_FS_INFO_BYTES = 1024
_FS_INFO = syscalls.request_read(_MAGIC, 31, _FS_INFO_BYTES)
_FLAGS = struct.Struct("=Q")
_FLAGS_AT = 48
_WITH_METADATA_ID = 4
_METADATA_ID_AT = 64
_SUBVOLUME = struct.Struct("=264xQ16xQ16x16s24xQ")  # of struct btrfs_ioctl_get_subvol_info_args:
# parent_id, flags, parent_uuid, otransid
_SUBVOLUME_BYTES = 504
_SUBVOLUME_INFO = syscalls.request_read(_MAGIC, 60, _SUBVOLUME_BYTES)
_READ_ONLY = 1


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What snapshots must have in common to be compared."""

    file_system: str
    """Its id on disk, not the one it may have while another with the same is mounted."""
    subvolume: str
    """The id of what the snapshots were taken of."""
    upper: int
    """The inode of the folder that paths are relative to."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A snapshot's place in its line. Remember it once what the snapshot held is committed."""

    line: Line
    generation: int


def point_of(snapshot: Path) -> Point:
    """Return a snapshot's point. Raises ChangesUnknownError."""
    with opened(snapshot) as fd:
        return facts_of(fd)[0]


@contextmanager
def opened(snapshot: Path) -> Iterator[int]:
    """Give a snapshot's descriptor; what the kernel refuses becomes ChangesUnknownError."""
    try:
        fd = os.open(snapshot, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield fd
        finally:
            os.close(fd)
    except OSError as error:
        raise ChangesUnknownError(
            f"btrfs does not say what changed ({error.strerror}); all files are compared instead"
        ) from error


def facts_of(fd: int) -> tuple[Point, int]:
    """Return the point of an open snapshot, and the number of the tree that the snapshot is in."""
    data = bytearray(_SUBVOLUME_BYTES)
    syscalls.ioctl(fd, _SUBVOLUME_INFO, data)
    parent, flags, taken_of, made_in = _SUBVOLUME.unpack_from(data)
    if not flags & _READ_ONLY or not any(taken_of):
        raise ChangesUnknownError("only of a read-only snapshot is it known what changed before it")
    line = Line(
        file_system=_file_system(fd),
        subvolume=str(uuid.UUID(bytes=taken_of)),
        upper=os.stat(UPPER, dir_fd=fd, follow_symlinks=False).st_ino,
    )
    return Point(line=line, generation=made_in), parent


def _file_system(fd: int) -> str:
    data = bytearray(_FS_INFO_BYTES)
    _FLAGS.pack_into(data, _FLAGS_AT, _WITH_METADATA_ID)
    syscalls.ioctl(fd, _FS_INFO, data)
    return str(uuid.UUID(bytes=bytes(data[_METADATA_ID_AT : _METADATA_ID_AT + 16])))
