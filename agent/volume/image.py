"""The sparse file: made whole or not at all, checked before use, room on its disk.

A new image is made under another name, given its file system, written to the disk, and only then
linked to its own name: an image that exists is complete, and no run of mkfs ever meets one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess  # noqa: TID251 - mkfs runs to its end in a thread
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent.volume import kinds
from agent.volume.neighbours import promised_bytes, promised_to_others_bytes
from agent.volume.superblock import HEAD_BYTES
from agent.volume.volume import (
    BackingDiskFullError,
    ImageCorruptError,
    ImageMissingError,
    ImageTruncatedError,
    NotPermittedError,
    VolumeError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from agent.volume.file_system import FileSystem

HOST_RESERVE_BYTES = 256 * 1024**2
"""Stays free on the host's disk for everything else: logs, the database, other programs."""
ATTACH_ROOM_BYTES_MIN = 16 * 1024**2
"""Without that much room on the host's disk an image is not even mounted: a write of the file
system's own that finds no place stops it."""
ROOM_SHARE_AT_ONCE = 2
"""A volume that can't grow is promised half of what could be: others begin on this disk as well."""
LEFT_AS_IT_IS = "it was left as it is: put a copy in its place, or move it away to begin anew"
"""Ends the sentence about an image that can't be used."""
MKFS_SECONDS_MAX = 60.0  # takes 20 ms; a disk that hangs shall not hang the start for ever

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True)
class Checked:
    """An image that looks whole."""

    facts: os.stat_result
    kind: FileSystem


def create(
    image: Path,
    size_bytes: int,
    *,
    size_bytes_max: int,
    host_reserve_bytes: int,
    preferred: Sequence[FileSystem] = kinds.PREFERRED,
) -> None:
    """Make the image, unless there is one. A kill leaves no image, or a whole one.

    What can't grow is made larger at once, up to `size_bytes_max`.
    """
    unfinished = image.with_name(f"{image.name}.unfinished")
    try:
        if image.exists():
            unfinished.unlink(missing_ok=True)  # killed between linking and unlinking
            return
        kind = kinds.choose(size_bytes, preferred)
        image.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        others = promised_to_others_bytes(image)
        room = host_room_bytes(image.parent) - others - host_reserve_bytes
        if room < size_bytes:
            raise BackingDiskFullError(
                f"the host's disk has no room for a volume of {_mb(size_bytes)}: "
                f"{room_text(room, others_bytes=others)}"
            )
        if not kinds.grows(kind):
            at_once = _aligned(room // ROOM_SHARE_AT_ONCE)
            size_bytes = max(size_bytes, min(size_bytes_max, at_once))
        unfinished.unlink(missing_ok=True)
        with unfinished.open("x+b") as file:
            os.fchmod(file.fileno(), 0o600)
            file.truncate(size_bytes)
            make_file_system(kind, unfinished, size_bytes)
            if not kinds.grows(kind):
                _cut_to_file_system(kind, file.fileno())
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(unfinished, image)
        unfinished.unlink()
        _sync_folder(image.parent)
    except OSError as error:
        raise translated(error, f"the volume's image {image} can't be made") from error


def check(image: Path) -> Checked:
    """Return the facts of an image that has a whole file system in it, as far as a look can tell.

    Only reads. The kernel would refuse such an image, too, but with one code for everything.
    """
    try:
        with image.open("rb", buffering=0) as file:
            facts = os.fstat(file.fileno())
            head = os.pread(file.fileno(), HEAD_BYTES, 0)
    except FileNotFoundError:
        raise ImageMissingError(f"the volume's image {image} does not exist") from None
    except OSError as error:
        raise translated(error, f"the volume's image {image} can't be read") from error
    if len(head) < HEAD_BYTES:
        raise ImageTruncatedError(
            f"the volume's image {image} was cut off: {facts.st_size} bytes are left of it; "
            f"{LEFT_AS_IT_IS}"
        )
    for kind in kinds.IN_IMAGES:
        size_bytes = kind.size_in(head)
        if size_bytes is None:
            continue
        if facts.st_size < size_bytes:
            raise ImageTruncatedError(
                f"the volume's image {image} was cut off: it has {facts.st_size} bytes "
                f"of {size_bytes}; {LEFT_AS_IT_IS}"
            )
        return Checked(facts, kind)
    raise ImageCorruptError(
        f"the volume's image {image} is damaged: there is no btrfs in it, nor any other file "
        f"system that volumes are of; {LEFT_AS_IT_IS}"
    )


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


def make_file_system(
    kind: FileSystem, image: Path, size_bytes: int, *, pass_fds: Sequence[int] = ()
) -> None:
    """Make one in an image of that size, by its own program, which gets those descriptors."""
    mkfs = kinds.mkfs_of(kind)
    assert mkfs is not None, "it was chosen"
    command = [mkfs, *kind.arguments(size_bytes), str(image)]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=MKFS_SECONDS_MAX,
            env={"PATH": kinds.MKFS_PATH, "LC_ALL": "C"},
            pass_fds=pass_fds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise VolumeError(f"mkfs.{kind.name} took more than {MKFS_SECONDS_MAX:.0f} s") from None
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise VolumeError(f"the volume's file system can't be made: {lines[-1]}")


def _cut_to_file_system(kind: FileSystem, fd: int) -> None:
    """Have the image of what can't grow end where it does: in a longer one it could.

    ext4 leaves out the last of its groups, of 128 MB, if little more than their tables fits in.
    """
    size_bytes = kind.size_in(os.pread(fd, HEAD_BYTES, 0))
    assert size_bytes is not None, "it was just made"
    os.ftruncate(fd, size_bytes)


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _aligned(size_bytes: int) -> int:
    return size_bytes - size_bytes % 4096


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / 1024**2:,.0f} MB"
