"""Makes the system calls that a session's root takes, in a way that changes nothing.

A filter (seccomp) sees only the number of a call and says EPERM or ENOSYS; who is let through is
told by the kernel that the arguments are nonsense. So the error tells which of both it was. All of
them together take a fraction of a millisecond.
"""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NOWHERE = -1  # no descriptor has this number
_NOTHING = 0xFFFFFFFF  # the largest number a descriptor could have: none has it
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_OPEN_TREE_CLONE = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_BYTES = 32
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_KEYCTL_GET_KEYRING_ID, _SESSION_KEYRING = 0, -3

# From 424 on, all architectures share their numbers.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_PIDFD_OPEN = 434
_SYS_CLOSE_RANGE = 436
_SYS_MOUNT_SETATTR = 442
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}

_REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def try_calls() -> dict[str, int]:
    """Return for each call 0 if it is let through, or EPERM, EACCES or ENOSYS.

    Without CAP_SYS_ADMIN most of them are refused by the kernel itself.
    """
    machine = os.uname().machine
    calls: dict[str, Callable[[], int]] = {
        "mount": lambda: int(_libc.mount(b"", b"", b"", 0, None)),
        "umount": lambda: int(_libc.umount2(b"", 0)),
        "unshare": lambda: int(_libc.unshare(0)),
        "setns": lambda: int(_libc.setns(_NOWHERE, 0)),
        "seccomp": lambda: int(
            _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, None, None, None)
        ),
        "close_range": lambda: _call(
            _SYS_CLOSE_RANGE, ctypes.c_uint(_NOTHING), ctypes.c_uint(_NOTHING), 0
        ),
        "pidfd_open": lambda: _call(_SYS_PIDFD_OPEN, _NOWHERE, 0),
        "move_mount": lambda: _call(
            _SYS_MOVE_MOUNT, _NOWHERE, b"", _NOWHERE, b"", _MOVE_MOUNT_F_EMPTY_PATH
        ),
        "open_tree and mount_setattr": _clone_root,
    }
    if machine in _SYS_KEYCTL:
        calls["pivot_root"] = lambda: _call(_SYS_PIVOT_ROOT[machine], b"", b"")
        calls["keyctl"] = lambda: _call(
            _SYS_KEYCTL[machine], _KEYCTL_GET_KEYRING_ID, _SESSION_KEYRING, 0
        )
    return {name: _refusal(call()) for name, call in calls.items()}


def _clone_root() -> int:
    """Take a detached copy of a mount, give it no attribute, and let go of it."""
    fd = _call(_SYS_OPEN_TREE, _AT_FDCWD, b"/", _OPEN_TREE_CLONE | os.O_CLOEXEC)
    if fd < 0:
        return fd
    nothing = (ctypes.c_uint64 * 4)(0, 0, 0, 0)
    result = _call(_SYS_MOUNT_SETATTR, fd, b"", _AT_EMPTY_PATH, nothing, _MOUNT_ATTR_BYTES)
    error = ctypes.get_errno()
    os.close(fd)
    ctypes.set_errno(error)
    return result


def _call(number: int, *arguments: object) -> int:
    return int(_libc.syscall(number, *arguments))


def _refusal(result: int) -> int:
    error = ctypes.get_errno() if result < 0 else 0
    return error if error in _REFUSED else 0
