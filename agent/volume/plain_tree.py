"""What is asked of a mounted XFS or ext4: size, free space, growth. All block.

Both reserve the room of what is written when it is written, not when it reaches the disk, so what
statvfs shows as free can still be written. Both grow while they are used. Neither takes snapshots.
ext4 can't become smaller while it is mounted; XFS can give up only what nothing ever lay on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from pathlib import Path

from agent.volume import syscalls
from agent.volume.file_system import refuse_stopped, resize_error, stopped
from agent.volume.volume import NotPermittedError, Space

BLOCK_BYTES = 4096
LOOP_MAJOR = 7

_XFS_GEOMETRY = struct.Struct("<8IQ72x")  # xfs_fs.h: struct xfs_fsop_geom_v1
_XFS_GET_GEOMETRY = syscalls.request_read(ord("X"), 100, _XFS_GEOMETRY.size)
_XFS_GROWTH = struct.Struct("<QI4x")  # struct xfs_growfs_data
_XFS_GROW = syscalls.request_write(ord("X"), 110, _XFS_GROWTH.size)
_EXT4_SIZE = struct.Struct("<Q")
_EXT4_RESIZE = syscalls.request_write(ord("f"), 16, _EXT4_SIZE.size)  # ext4.h
_EXT4_SYSFS = Path("/sys/fs/ext4")


class PlainTree:
    """What XFS and ext4 have in common; each says how large it is and how it grows."""

    def __init__(self, mount_point: Path, loop_number: int) -> None:
        self._mount_point = mount_point
        self._loop_number = loop_number

    def prepare(self, *, image_bytes: int, active: Path, snapshots: Path) -> None:
        target = image_bytes - image_bytes % BLOCK_BYTES
        if self.size_bytes() < target:
            with contextlib.suppress(NotPermittedError):  # then it is used as large as it is
                self.resize(target)
        active.mkdir(exist_ok=True)

    def size_bytes(self) -> int:
        facts = os.statvfs(self._mount_point)
        refuse_stopped(facts)
        return self._size_bytes(facts)

    def measure(self, *, host_free_bytes: int) -> Space:
        facts = os.statvfs(self._mount_point)
        refuse_stopped(facts)
        free_bytes = facts.f_bavail * facts.f_frsize
        return Space(
            size_bytes=self._size_bytes(facts),
            true_free_bytes=free_bytes,
            metadata_free_bytes=min(free_bytes, self._names_bytes(facts)),
            host_free_bytes=host_free_bytes,
        )

    def resize(self, size_bytes: int) -> None:
        fd = self._opened()
        try:
            self._grow(fd, size_bytes // BLOCK_BYTES)
        except OSError as error:
            raise resize_error(error) from error
        finally:
            os.close(fd)

    def settle(self) -> None:
        """Do nothing: what is deleted counts as free at once."""

    def sync(self) -> None:
        fd = self._opened()
        try:
            syscalls.syncfs(fd)
        finally:
            os.close(fd)

    def snapshot(self, source: Path, path: Path) -> None:
        raise AssertionError(f"there are no snapshots: {source}, {path}")

    def drop_snapshot(self, path: Path) -> None:
        raise AssertionError(f"there are no snapshots: {path}")

    def _opened(self) -> int:
        return os.open(self._mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def _size_bytes(self, facts: os.statvfs_result) -> int:
        raise NotImplementedError

    def _names_bytes(self, facts: os.statvfs_result) -> int:
        """Return how much room is left for names, in bytes."""
        raise NotImplementedError

    def _grow(self, fd: int, blocks: int) -> None:
        raise NotImplementedError


class XfsTree(PlainTree):
    """A mounted XFS. Names take room like everything else."""

    def _size_bytes(self, facts: os.statvfs_result) -> int:
        data = bytearray(_XFS_GEOMETRY.size)
        try:
            fd = self._opened()
        except OSError as error:
            if error.errno == errno.EIO:  # it is not made read-only, it answers nothing any more
                raise stopped() from error
            raise
        try:
            syscalls.ioctl(fd, _XFS_GET_GEOMETRY, data)
        finally:
            os.close(fd)
        block_bytes, *_, blocks = _XFS_GEOMETRY.unpack(data)
        return int(block_bytes * blocks)

    def _names_bytes(self, facts: os.statvfs_result) -> int:
        return facts.f_bavail * facts.f_frsize

    def _grow(self, fd: int, blocks: int) -> None:
        syscalls.ioctl(fd, _XFS_GROW, bytearray(_XFS_GROWTH.pack(blocks, 0)))


class Ext4Tree(PlainTree):
    """A mounted ext4. It has a number of files with its size, and more when it grows."""

    def __init__(self, mount_point: Path, loop_number: int) -> None:
        super().__init__(mount_point, loop_number)
        self._errors_before = self._errors()

    def _size_bytes(self, facts: os.statvfs_result) -> int:
        if self._errors() != self._errors_before:  # newer kernels don't show it as read-only
            raise stopped()
        return facts.f_blocks * facts.f_frsize

    def _names_bytes(self, facts: os.statvfs_result) -> int:
        if not facts.f_files:
            return 0
        return facts.f_favail * (facts.f_blocks * facts.f_frsize // facts.f_files)

    def _grow(self, fd: int, blocks: int) -> None:
        syscalls.ioctl(fd, _EXT4_RESIZE, bytearray(_EXT4_SIZE.pack(blocks)))

    def _errors(self) -> str:
        """Return how many errors it had, since it was made."""
        try:
            return (_EXT4_SYSFS / f"loop{self._loop_number}" / "errors_count").read_text()
        except FileNotFoundError:  # no /sys: then the kernel's mark is all there is
            return ""


def is_on(mount_point: Path, loop_number: int) -> bool:
    """Say whether the file system of that loop device is mounted there."""
    return os.stat(mount_point).st_dev == os.makedev(LOOP_MAJOR, loop_number)
