"""What is asked of a mounted btrfs: size, subvolumes, snapshots, true free space. All block.

**Room for metadata.** btrfs gives space to data or to metadata in pieces, whoever comes first, and
hardly takes one back. mkfs gives metadata 8 MB. One big file then took all the rest of a volume: no
name could be made any more at 1.6 of 2 GB, and neither after the file was deleted (seen). So
metadata gets a piece of 64 MB before anybody writes, and more as data gets more
(`kinds.BTRFS`).

**True free space.** statvfs knows what the trees say, and the trees learn of written data late: a
program's write first *may use* space (`bytes_may_use`, while the data is in the page cache), then
has it *reserved* (`bytes_reserved`, from when the kernel has chosen the place until the write is in
the trees). Both look free to statvfs. Seen with one `dd` into an empty volume of 2 GB: at the
instant of its ENOSPC statvfs showed 1.8 GB, less `bytes_may_use` still 0.97 GB, less both nothing.

They are read before statvfs: what moves on between the two readings then counts twice, not never.
While a piece is given to data, statvfs may count it both as data's and as nobody's (seen on a busy
machine, where 137 MB that were written looked free). So it is asked for no more than sysfs says,
where both change at once: data's pieces are read before the sum of all, and a new one counts as
taken.

**Whole files in snapshots.** A snapshot is made by a commit. The kernel writes the page cache
before it, but not what programs write until the commit takes no more names: of what they create and
rename in between, the copy had the names, and files of no bytes behind them (seen: in 13 of 15
copies, beside two programs that write small files and rename them). With `flushoncommit` a commit
writes the page cache once no name can come any more. As an option for good it makes every program
wait for up to a second each half minute (50 MB/s were being written); around a snapshot, for
milliseconds.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.volume import syscalls
from agent.volume.file_system import refuse_stopped, resize_error
from agent.volume.volume import CannotResizeError, Space, VolumeError

if TYPE_CHECKING:
    from collections.abc import Iterator

SYSFS = Path("/sys/fs/btrfs")
BLOCK_BYTES = 4096
SUBVOLUME_INODE = 256  # every subvolume's top folder has it

_MAGIC = 0x94  # linux/btrfs.h
_NAME = struct.Struct("<q4088s")  # struct btrfs_ioctl_vol_args
_SNAPSHOT = struct.Struct("<q2Q4Q4040s")  # struct btrfs_ioctl_vol_args_v2
_INFO_BYTES = 1024
_BALANCE_BYTES = 1024
_BALANCE = syscalls.request_both(_MAGIC, 32, _BALANCE_BYTES)
_BALANCE_METADATA = 4
_MKFS_METADATA_BYTES = 8 * 1024**2
_RESIZE = syscalls.request_write(_MAGIC, 3, _NAME.size)
_CREATE = syscalls.request_write(_MAGIC, 14, _NAME.size)
_DESTROY = syscalls.request_write(_MAGIC, 15, _NAME.size)
_SNAP_CREATE = syscalls.request_write(_MAGIC, 23, _SNAPSHOT.size)
_TRANSACTION_BYTES = 8
_START_COMMIT = syscalls.request_read(_MAGIC, 24, _TRANSACTION_BYTES)
_FS_INFO = syscalls.request_read(_MAGIC, 31, _INFO_BYTES)
_SNAPSHOT_READ_ONLY = 2

_log = structlog.get_logger()


class Tree:
    """A mounted btrfs on one device, seen from its top folder."""

    def __init__(self, mount_point: Path) -> None:
        self._mount_point = mount_point
        # The kernel names it by this id, which is not always the image's own: of two file systems
        # with the same id, the one mounted second gets another for as long as it is mounted.
        # As text: putting paths together would be half of the work of a measurement, which an idle
        # session does some times a second.
        self._allocation = str(SYSFS / _id(mount_point) / "allocation")

    def prepare(self, *, image_bytes: int, active: Path, snapshots: Path) -> None:
        """Finish what was interrupted, and drop what is left of captures."""
        size_bytes = self.size_bytes()
        self._widen_metadata_if_possible()
        target = image_bytes - image_bytes % BLOCK_BYTES
        if size_bytes < target:
            self.resize(target)
        self.create_subvolume(active)
        snapshots.mkdir(mode=0o700, exist_ok=True)
        for leftover in snapshots.iterdir():
            _log.info("snapshot_dropped", name=leftover.name)
            self.drop_snapshot(leftover)

    # ── Space ────────────────────────────────────────────────────────────────

    def size_bytes(self) -> int:
        """Return the size; raises FileSystemStoppedError if nothing can be written any more."""
        facts = os.statvfs(self._mount_point)
        refuse_stopped(facts)
        return facts.f_blocks * facts.f_frsize

    def measure(self, *, host_free_bytes: int) -> Space:
        data_on_its_way = self._read("data/bytes_may_use") + self._read("data/bytes_reserved")
        data_bytes = self._read("data/total_bytes")
        metadata_on_its_way = self._read("metadata/bytes_may_use") + self._read(
            "metadata/bytes_reserved"
        )
        given_out = (
            self._read("data/disk_total")
            + self._read("metadata/disk_total")
            + self._read("system/disk_total")
        )
        metadata_taken = (
            self._read("metadata/bytes_used")
            + self._read("metadata/bytes_pinned")
            + self._read("metadata/bytes_readonly")
            + metadata_on_its_way
        )
        metadata_bytes = self._read("metadata/total_bytes")
        facts = os.statvfs(self._mount_point)
        refuse_stopped(facts)
        size_bytes = facts.f_blocks * facts.f_frsize
        in_no_piece = size_bytes - given_out
        free_for_data = min(
            facts.f_bavail * facts.f_frsize,
            in_no_piece + data_bytes - self._read("data/bytes_used"),
        )
        free_bytes = free_for_data - data_on_its_way - metadata_on_its_way
        return Space(
            size_bytes=size_bytes,
            true_free_bytes=max(0, free_bytes),
            metadata_free_bytes=max(0, in_no_piece + metadata_bytes - metadata_taken),
            host_free_bytes=host_free_bytes,
        )

    def _read(self, name: str) -> int:
        fd = os.open(f"{self._allocation}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return int(os.read(fd, 32))
        finally:
            os.close(fd)

    def _widen_metadata_if_possible(self) -> None:
        try:
            self.widen_metadata()
        except OSError as error:  # a full volume of another making works without
            _log.warning("volume_metadata_not_widened", reason=error.strerror)

    def widen_metadata(self) -> None:
        """Replace the 8 MB that mkfs has given metadata by a tenth of the present size, once.

        Moving metadata away is the way to make the kernel take a new piece for it: 7 ms.
        """
        if self._read("metadata/total_bytes") > _MKFS_METADATA_BYTES:
            return
        argument = bytearray(_BALANCE_BYTES)
        struct.pack_into("<Q", argument, 0, _BALANCE_METADATA)
        with _Folder(self._mount_point) as fd:
            syscalls.ioctl(fd, _BALANCE, argument)

    def resize(self, size_bytes: int) -> None:
        """Use that much of the device. Durable when it returns."""
        with _Folder(self._mount_point) as fd:
            try:
                code = syscalls.ioctl(fd, _RESIZE, _named(str(size_bytes)))
            except OSError as error:
                raise _resize_error(error) from error
        if code != 0:  # positive: the kernel is balancing or resizing already
            raise CannotResizeError("the volume's size can't change now: it is being balanced")

    # ── Subvolumes ───────────────────────────────────────────────────────────

    def create_subvolume(self, path: Path) -> None:
        """Make it; does nothing if there is one."""
        with _Folder(path.parent) as fd:
            try:
                syscalls.ioctl(fd, _CREATE, _named(path.name))
            except FileExistsError:
                if path.lstat().st_ino != SUBVOLUME_INODE:
                    raise

    def snapshot(self, source: Path, path: Path) -> None:
        """Make `path` a read-only copy of the subvolume `source`, of all that was written so far.

        Whatever name it has, has all that was written to it before it got the name. What is in the
        page cache is written first: the kernel would do it inside, with every writer waiting.
        """
        with _Folder(source) as source_fd, _Folder(path.parent) as fd:
            syscalls.syncfs(source_fd)
            argument = _SNAPSHOT.pack(
                source_fd, 0, _SNAPSHOT_READ_ONLY, 0, 0, 0, 0, os.fsencode(path.name)
            )
            with self._whole_commits():
                syscalls.ioctl(fd, _SNAP_CREATE, bytearray(argument))

    @contextlib.contextmanager
    def _whole_commits(self) -> Iterator[None]:
        """Have what a commit has names for be written by it, for the length of a block."""
        try:
            syscalls.reconfigure(str(self._mount_point), "flushoncommit")
        except OSError as error:
            # Such as of a file system that has stopped: what follows says so.
            _log.warning("snapshot_may_have_empty_files", reason=error.strerror)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):
                syscalls.reconfigure(str(self._mount_point), "noflushoncommit")

    def drop_snapshot(self, path: Path) -> None:
        """Remove it with all that is in it; does nothing if there is none."""
        with _Folder(path.parent) as fd:
            with contextlib.suppress(FileNotFoundError):
                syscalls.ioctl(fd, _DESTROY, _named(path.name))

    def settle(self) -> None:
        """Have the kernel begin what it does each half minute; only that frees what was deleted."""
        with _Folder(self._mount_point) as fd:
            syscalls.ioctl(fd, _START_COMMIT, bytearray(_TRANSACTION_BYTES))

    def sync(self) -> None:
        with _Folder(self._mount_point) as fd:
            syscalls.syncfs(fd)


class _Folder:
    """A folder's descriptor for the length of a block: held longer, it would block unmounting."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._fd

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)


def is_on(mount_point: Path, device_name: str) -> bool:
    """Say whether a btrfs on that device is mounted there."""
    try:
        return (SYSFS / _id(mount_point) / "devices" / device_name).exists()
    except OSError:  # not a btrfs
        return False


def _id(mount_point: Path) -> str:
    data = bytearray(_INFO_BYTES)
    with _Folder(mount_point) as fd:
        syscalls.ioctl(fd, _FS_INFO, data)
    return str(uuid.UUID(bytes=bytes(data[16:32])))


def _named(name: str) -> bytearray:
    return bytearray(_NAME.pack(0, os.fsencode(name)))


def _resize_error(error: OSError) -> VolumeError:
    if error.errno == errno.ENOSPC:
        return CannotResizeError("the volume can't shrink now: its end is in use")
    return resize_error(error)
