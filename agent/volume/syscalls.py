"""System calls that Python's standard library lacks, or makes while it stops all other threads.

`fcntl.ioctl` is the second kind: it keeps the interpreter's lock when the argument is longer than
1024 bytes, and btrfs's are 4096. A growth would stand the event loop still for as long as it takes.
ctypes gives the lock up.
"""

from __future__ import annotations

import ctypes
import os

MS_NOSUID = 2  # linux/mount.h
MS_NODEV = 4
MS_NOATIME = 1024

_WRITE, _READ = 1, 2  # asm-generic/ioctl.h
_SYS_FSOPEN, _FSOPEN_CLOEXEC = 430, 1  # all architectures share these numbers
_SYS_FSCONFIG, _SET_FLAG, _RECONFIGURE = 431, 0, 7
_SYS_FSPICK, _FSPICK_CLOEXEC = 433, 1
_HERE = -100  # linux/fcntl.h: AT_FDCWD
_libc = ctypes.CDLL(None, use_errno=True)
_libc.ioctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p)
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.syncfs.argtypes = (ctypes.c_int,)
_libc.syscall.restype = ctypes.c_long


def request_write(kind: int, number: int, size_bytes: int) -> int:
    """Return the ioctl request that hands `size_bytes` to the kernel: C's _IOW."""
    return _WRITE << 30 | size_bytes << 16 | kind << 8 | number


def request_read(kind: int, number: int, size_bytes: int) -> int:
    """Return the ioctl request that gets `size_bytes` from the kernel: C's _IOR."""
    return _READ << 30 | size_bytes << 16 | kind << 8 | number


def request_both(kind: int, number: int, size_bytes: int) -> int:
    """Return the ioctl request that does both: C's _IOWR."""
    return request_write(kind, number, size_bytes) | request_read(kind, number, size_bytes)


def ioctl(fd: int, request: int, argument: bytearray) -> int:
    """Do it, with `argument` changed in place; returns the kernel's code, raises OSError."""
    return _checked(_libc.ioctl(fd, request, _address(argument)))


def ioctl_number(fd: int, request: int, argument: int = 0) -> int:
    """Do one whose argument is a number."""
    return _checked(_libc.ioctl(fd, request, argument))


def mount(source: str, target: str, kind: str, flags: int, options: str) -> None:
    """Put the file system on `source` at the folder `target`."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode())
    _checked(_libc.mount(*arguments, flags, options.encode()))


def unmount(target: str) -> None:
    """Unmount what is on top at `target`; EBUSY while it is used."""
    _checked(_libc.umount2(os.fsencode(target), 0))


def reconfigure(mount_point: str, option: str) -> None:
    """Change one option of a mounted file system, for all its mounts. It is synchronised first."""
    fd = _checked(_libc.syscall(_SYS_FSPICK, _HERE, os.fsencode(mount_point), _FSPICK_CLOEXEC))
    try:
        _checked(_libc.syscall(_SYS_FSCONFIG, fd, _SET_FLAG, option.encode(), None, 0))
        _checked(_libc.syscall(_SYS_FSCONFIG, fd, _RECONFIGURE, None, None, 0))
    finally:
        os.close(fd)


def syncfs(fd: int) -> None:
    """Write the whole file system that `fd` is on, and wait for it."""
    _checked(_libc.syncfs(fd))


def try_file_system(kind: str) -> int:
    """Return 0 if the kernel has this kind of file system, ENODEV if not, or another error.

    The kernel loads its module if there is one, as a mount would have it do.
    """
    fd = int(_libc.syscall(_SYS_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC))
    if fd < 0:
        return ctypes.get_errno()
    os.close(fd)
    return 0


def _address(argument: bytearray) -> ctypes.Array[ctypes.c_char]:
    return (ctypes.c_char * len(argument)).from_buffer(argument)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
