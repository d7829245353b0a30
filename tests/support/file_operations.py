"""What programs do to files that Python has no function for."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EXCHANGE, WHITEOUT = 2, 4  # linux/fs.h: RENAME_…
KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO = 0x1, 0x2, 0x8, 0x10  # linux/falloc.h
_AT_FDCWD = -100
_AT_SYMLINK_FOLLOW = 0x400
_RENAMEAT2 = 316
_FICLONE = 0x40049409
_FICLONERANGE = 0x4020940D
_FIDEDUPERANGE = 0xC0189436
_GETFLAGS, _SETFLAGS = 0x80086601, 0x40086602
_NO_COPY_ON_WRITE = 0x00800000
_libc = ctypes.CDLL(None, use_errno=True)


def rename(source: Path, target: Path, flags: int) -> None:
    names = (os.fsencode(source), _AT_FDCWD, os.fsencode(target))
    _check(_libc.syscall(_RENAMEAT2, _AT_FDCWD, *names, flags))


def allocate(path: Path, offset: int, length: int, mode: int = 0) -> None:
    fd = os.open(path, os.O_RDWR)
    try:
        _check(_libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)))
    finally:
        os.close(fd)


def clone(source: Path, target: Path) -> None:
    """Make the whole content of one file that of the other, without copying."""
    with source.open("rb") as origin, target.open("r+b") as file:
        fcntl.ioctl(file, _FICLONE, origin.fileno())
        os.ftruncate(file.fileno(), os.fstat(origin.fileno()).st_size)


def clone_range(source: Path, target: Path, *, at: int, length: int) -> None:
    with source.open("rb") as origin, target.open("r+b") as file:
        fcntl.ioctl(file, _FICLONERANGE, struct.pack("=qQQQ", origin.fileno(), 0, length, at))


def deduplicate(source: Path, target: Path, length: int) -> int:
    """Have both share what is the same in both; returns how many bytes that is."""
    with source.open("rb") as origin, target.open("r+b") as file:
        argument = bytearray(struct.pack("=QQHHI", 0, length, 1, 0, 0))
        argument += struct.pack("=qQQiI", file.fileno(), 0, 0, 0, 0)
        fcntl.ioctl(origin, _FIDEDUPERANGE, argument)
        shared: int = struct.unpack_from("=Q", argument, 24 + 16)[0]
        return shared


def write_mapped(path: Path, data: bytes, at: int = 0) -> None:
    """Write through memory, and leave it to the kernel when it takes notice."""
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[at : at + len(data)] = data


def make_unnamed(folder: Path, data: bytes, target: Path) -> None:
    """Write a file that has no name, then give it one."""
    fd = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
    try:
        os.write(fd, data)
        source = os.fsencode(f"/proc/self/fd/{fd}")
        names = (_AT_FDCWD, os.fsencode(target))
        _check(_libc.linkat(_AT_FDCWD, source, *names, _AT_SYMLINK_FOLLOW))
    finally:
        os.close(fd)


def forgo_copy_on_write(path: Path) -> None:
    """As `chattr +C`: of an empty file."""
    with path.open("r+b") as file:
        flags = bytearray(8)
        fcntl.ioctl(file, _GETFLAGS, flags)
        (now,) = struct.unpack_from("=I", flags)
        fcntl.ioctl(file, _SETFLAGS, struct.pack("=Q", now | _NO_COPY_ON_WRITE))


def keeps_copy_on_write(path: Path) -> bool:
    with path.open("rb") as file:
        flags = bytearray(8)
        fcntl.ioctl(file, _GETFLAGS, flags)
    return not struct.unpack_from("=I", flags)[0] & _NO_COPY_ON_WRITE


def rewrite_unseen(path: Path, data: bytes) -> None:
    """Write other content of the same size, and set the times back."""
    status = path.stat()
    assert len(data) == status.st_size
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
