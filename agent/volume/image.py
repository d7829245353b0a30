"""The sparse file: made whole or not at all, checked before use, room on its disk.

A new image is made under another name, given its file system, written to the disk, and only then
linked to its own name: an image that exists is complete, and no run of mkfs ever meets one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import struct
import subprocess  # noqa: TID251 - mkfs runs to its end in a thread
from typing import TYPE_CHECKING

from agent.volume.neighbours import promised_bytes, promised_to_others_bytes
from agent.volume.volume import (
    BackingDiskFullError,
    ImageCorruptError,
    ImageMissingError,
    ImageTruncatedError,
    NotPermittedError,
    ToolMissingError,
    VolumeError,
)

if TYPE_CHECKING:
    from pathlib import Path

HOST_RESERVE_BYTES = 256 * 1024**2
"""Stays free on the host's disk for everything else: logs, the database, other programs."""
BEGINNING_BYTES_MAX = 640 * 1024**2
"""The file system begins with this size inside its image; attaching extends it. See
`btrfs_calls.Tree.widen_metadata`: a tenth of it becomes the room for metadata."""
ATTACH_ROOM_BYTES_MIN = 16 * 1024**2
"""Without that much room on the host's disk an image is not even mounted: a write of the file
system's own that finds no place stops it."""
LEFT_AS_IT_IS = "it was left as it is: put a copy in its place, or move it away to begin anew"
"""Ends the sentence about an image that can't be used."""
MKFS_SECONDS_MAX = 60.0  # takes 20 ms; a disk that hangs shall not hang the start for ever

_MKFS_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_SUPERBLOCK_OFFSET, _SUPERBLOCK_BYTES = 64 * 1024, 4096  # on-disk format of btrfs
_MAGIC_OFFSET, _MAGIC = 64, b"_BHRfS_M"
_DEVICE_BYTES_OFFSET = 209  # total_bytes of the device item in the superblock
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def create(image: Path, size_bytes: int, *, host_reserve_bytes: int) -> None:
    """Make the image, unless there is one. A kill leaves no image, or a whole one."""
    unfinished = image.with_name(f"{image.name}.unfinished")
    try:
        if image.exists():
            unfinished.unlink(missing_ok=True)  # killed between linking and unlinking
            return
        image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = promised_to_others_bytes(image)
        room = host_room_bytes(image.parent) - others - host_reserve_bytes
        if room < size_bytes:
            raise BackingDiskFullError(
                f"the host's disk has no room for a volume of {_mb(size_bytes)}: "
                f"{room_text(room, others_bytes=others)}"
            )
        unfinished.unlink(missing_ok=True)
        with unfinished.open("xb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(size_bytes)
            _make_file_system(unfinished, min(size_bytes, BEGINNING_BYTES_MAX))
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, image)
        unfinished.unlink()
        _sync_folder(image.parent)
    except OSError as error:
        raise translated(error, f"the volume's image {image} can't be made") from error


def check(image: Path) -> os.stat_result:
    """Return the image's facts if it has a whole btrfs in it, as far as a look can tell.

    Only reads. The kernel would refuse such an image, too, but with one code for everything.
    """
    try:
        with image.open("rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            superblock = os.pread(file.fileno(), _SUPERBLOCK_BYTES, _SUPERBLOCK_OFFSET)
    except FileNotFoundError:
        raise ImageMissingError(f"the volume's image {image} does not exist") from None
    except OSError as error:
        raise translated(error, f"the volume's image {image} can't be read") from error
    if len(superblock) < _SUPERBLOCK_BYTES:
        raise ImageTruncatedError(
            f"the volume's image {image} was cut off: {facts.st_size} bytes are left of it; "
            f"{LEFT_AS_IT_IS}"
        )
    if superblock[_MAGIC_OFFSET : _MAGIC_OFFSET + len(_MAGIC)] != _MAGIC:
        raise ImageCorruptError(
            f"the volume's image {image} is damaged: there is no btrfs in it; {LEFT_AS_IT_IS}"
        )
    (size_bytes,) = struct.unpack_from("<Q", superblock, _DEVICE_BYTES_OFFSET)
    if facts.st_size < size_bytes:
        raise ImageTruncatedError(
            f"the volume's image {image} was cut off: it has {facts.st_size} bytes "
            f"of {size_bytes}; {LEFT_AS_IT_IS}"
        )
    return facts


def require_room(image: Path) -> None:
    """Raise BackingDiskFullError if mounting the image could make things worse."""
    room = host_room_bytes(image)
    if room < ATTACH_ROOM_BYTES_MIN:
        raise BackingDiskFullError(
            f"the host's disk is full: {_mb(room)} are free where the volume's image {image} lies, "
            f"and it takes {_mb(ATTACH_ROOM_BYTES_MIN)} to use it safely; make room there"
        )


def host_room_bytes(path: Path | int) -> int:
    """Return what the disk below has free."""
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize


def growable_bytes(fd: int, *, size_bytes: int, others_bytes: int, host_reserve_bytes: int) -> int:
    """Return how much larger an image of that size may become so that its disk could hold it full.

    What was promised but no sparse file has taken yet comes off first: what this volume was, and
    `others_bytes`, what the others on the disk were; see `neighbours`.
    """
    promised = promised_bytes(size_bytes, os.fstat(fd)) + others_bytes
    return max(0, host_room_bytes(fd) - promised - host_reserve_bytes)


def room_text(room_bytes: int, *, others_bytes: int) -> str:
    """Return the end of a sentence about room that is too small: why it is."""
    text = f"{_mb(max(0, room_bytes))} can be given to it"
    return f"{text}, {_mb(others_bytes)} are kept for other sessions" if others_bytes else text


def extend(fd: int, size_bytes: int) -> None:
    """Make the file at least that long. Never cuts anything off."""
    try:
        if os.fstat(fd).st_size < size_bytes:
            os.ftruncate(fd, size_bytes)
    except OSError as error:
        raise translated(error, "the volume's image can't be made longer") from error


def translated(error: OSError, what: str) -> VolumeError:
    """Return the VolumeError that says what an OSError means here."""
    if error.errno in _FULL:
        return BackingDiskFullError(f"{what}: the host's disk is full")
    if error.errno in {errno.EPERM, errno.EACCES}:
        return NotPermittedError(f"{what}: {error.strerror} (the agent needs CAP_SYS_ADMIN)")
    return VolumeError(f"{what}: {error.strerror}")


def _make_file_system(image: Path, size_bytes: int) -> None:
    """Metadata once: a copy on the same file would guard against nothing, and costs a tenth."""
    mkfs = shutil.which("mkfs.btrfs", path=_MKFS_PATH)
    if mkfs is None:
        raise ToolMissingError("mkfs.btrfs is missing: install the package btrfs-progs")
    command = [
        *(mkfs, "--quiet", "--data", "single", "--metadata", "single"),
        *("--byte-count", str(size_bytes), str(image)),
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MKFS_SECONDS_MAX,
            env={"PATH": _MKFS_PATH, "LC_ALL": "C"},
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VolumeError(f"mkfs.btrfs took more than {MKFS_SECONDS_MAX:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise VolumeError(f"the volume's file system can't be made: {lines[-1]}")


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MB"
