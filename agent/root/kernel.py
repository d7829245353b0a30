"""System calls that Python 3.11 does not offer, each a function that raises OSError.

Imported by the launcher, which stays in memory as the session's first process: so nothing is
imported here but `ctypes` and `os`, and numbers stand where the standard library's modules
(`signal`, `socket`: enum, selectors) would cost a megabyte. Names and values are the kernel's, from
its uapi headers; each function names its manual page.
"""

from __future__ import annotations

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# From mount(2):
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_NOATIME = 1024
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

# From mount_setattr(2):
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4

# From clone(2), unshare(2) and setns(2):
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_OPEN_TREE_CLOEXEC = os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MOUNT_ATTR_BYTES = 32

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_NAME = 15
_PR_SET_SECCOMP = 22
_PR_CAPBSET_READ = 23
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_ARGUMENTS_START = 45  # arg_start and arg_end in proc_pid_stat(5), counted behind the name
_ARGUMENTS_END = 46
_SECCOMP_MODE_FILTER = 2
_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SIG_BLOCK = 0
_SIG_SETMASK = 2
_SIGACTION_BYTES = 32  # the kernel's: all zero is SIG_DFL without flags
_KERNEL_SIGSET = 8
_SIGNALS_MAX = 64
_SIGSET_BYTES = 128  # glibc's sigset_t
_FIRST_CLOSED_BY_DEFAULT = 3
_CLOSE_RANGE_END = 0xFFFFFFFF
_BPF_INSTRUCTION_BYTES = 8
_BPF_INSTRUCTIONS_MAX = 4096  # BPF_MAXINSNS

# From 424 on, all architectures share their numbers.
_SYS_OPEN_TREE = 428
_SYS_MOVE_MOUNT = 429
_SYS_CLOSE_RANGE = 436
_SYS_MOUNT_SETATTR = 442
_SYS_RT_SIGACTION = {"x86_64": 13, "aarch64": 134}
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.c_ulong,
    ctypes.c_char_p,
)
_libc.syscall.restype = ctypes.c_long


class _Program(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [  # type: ignore[mutable-override]  # as ctypes has it
        ("length", ctypes.c_ushort),
        ("instructions", ctypes.c_void_p),
    ]


def _checked(result: int, about: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), about)
    return result


# ── Mounts ───────────────────────────────────────────────────────────────────


def mount(source: str, target: str, kind: str | None, flags: int, options: str = "") -> None:
    """Attach a file system, or change a mount: man 2 mount."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        None if kind is None else kind.encode(),
        flags,
        os.fsencode(options),
    )
    _checked(result, f"mount {kind or source} at {target}")


def set_propagation(target: str, flags: int) -> None:
    """Make a mount (with MS_REC: and all below it) shared, slave or private."""
    mount("none", target, None, flags)


def unmount(target: str, flags: int = 0) -> None:
    """See umount2(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def pivot_root(new: str, old: str) -> None:
    """Exchange the root of this mount namespace: man 2 pivot_root."""
    _checked(_libc.pivot_root(os.fsencode(new), os.fsencode(old)), f"pivot_root {new}")


def clone_mount(path: str, *, recursive: bool) -> int:
    """Return a descriptor of a detached copy of the mount at `path`: open_tree(2).

    A detached mount can be given its attributes before it is anywhere to be seen, and it is
    attached by `attach_mount` inside the session's root, where no link leads out of it.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    return _checked(
        _libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags), f"open_tree {path}"
    )


def set_mount_attributes(
    fd: int, *, attributes: int, propagation: int = 0, recursive: bool
) -> None:
    """Add attributes to a detached mount: mount_setattr(2)."""
    request = (ctypes.c_uint64 * 4)(attributes, 0, propagation, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    result = _libc.syscall(_SYS_MOUNT_SETATTR, fd, b"", flags, request, _MOUNT_ATTR_BYTES)
    _checked(result, "mount_setattr")


def attach_mount(fd: int, target: str) -> None:
    """Attach a detached mount: move_mount(2)."""
    result = _libc.syscall(
        _SYS_MOVE_MOUNT, fd, b"", _AT_FDCWD, os.fsencode(target), _MOVE_MOUNT_F_EMPTY_PATH
    )
    _checked(result, f"move_mount to {target}")


# ── Namespaces ───────────────────────────────────────────────────────────────


def unshare(flags: int) -> None:
    """Leave namespaces for new ones. Concerns the calling thread only: man 2 unshare."""
    _checked(_libc.unshare(flags), "unshare")


def enter_namespace(fd: int, kinds: int) -> None:
    """See setns(2): `fd` is a namespace, or a pidfd and `kinds` says which. This thread only."""
    _checked(_libc.setns(fd, kinds), "setns")


def set_hostname(name: str) -> None:
    """See sethostname(2)."""
    encoded = name.encode()
    _checked(_libc.sethostname(encoded, len(encoded)), f"sethostname {name}")


# ── The process itself ───────────────────────────────────────────────────────


def close_all_but(keep: Iterable[int]) -> None:
    """Close every descriptor above the standard ones that is not in `keep`: close_range(2)."""
    first = _FIRST_CLOSED_BY_DEFAULT
    for fd in [*sorted(fd for fd in keep if fd >= first), _CLOSE_RANGE_END + 1]:
        if fd > first:
            _checked(
                _libc.syscall(
                    _SYS_CLOSE_RANGE, ctypes.c_uint(first), ctypes.c_uint(fd - 1), ctypes.c_uint(0)
                ),
                "close_range",
            )
        first = fd + 1


def die_with_parent(signal_number: int) -> None:
    """Have this process get a signal when the thread that started it ends: PR_SET_PDEATHSIG."""
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "PR_SET_PDEATHSIG")


def refuse_inspection() -> None:
    """Make memory, descriptors and links in /proc of this process root's of the host only.

    PR_SET_DUMPABLE; a fork inherits it, exec ends it.
    """
    _checked(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE")


def set_process_name(name: str) -> None:
    """Name this process in `ps`, with and without arguments: PR_SET_NAME, proc_pid_cmdline(5).

    The arguments are written over where the kernel reads them; moving that place would take a
    capability. Needs the host's /proc.
    """
    _checked(_libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0), "PR_SET_NAME")
    with open("/proc/self/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[_ARGUMENTS_START]), int(fields[_ARGUMENTS_END])
    ctypes.memset(start, 0, end - start)
    ctypes.memmove(start, name.encode(), min(len(name.encode()), end - start - 1))


def join_new_session_keyring() -> None:
    """Leave the keyring of whoever started this: keyctl(2)."""
    number = _SYS_KEYCTL[os.uname().machine]
    _checked(_libc.syscall(number, _KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")


def set_seccomp_filter(program: bytes) -> None:
    """Install a compiled filter: seccomp(2). Needs CAP_SYS_ADMIN; `no_new_privs` stays off."""
    length, rest = divmod(len(program), _BPF_INSTRUCTION_BYTES)
    if rest or not 0 < length <= _BPF_INSTRUCTIONS_MAX:
        raise ValueError(f"{len(program)} bytes are not a seccomp filter")
    buffer = ctypes.create_string_buffer(program, len(program))
    filter_program = _Program(length, ctypes.addressof(buffer))
    result = _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0)
    _checked(result, "PR_SET_SECCOMP")


def keep_capabilities(kept: Iterable[int]) -> None:
    """Give up all capabilities but `kept`, in every set, for good: capabilities(7).

    What root may gain by exec is bounded too. The inheritable and ambient sets become empty. Those
    of `kept` that this process doesn't have are not gained: not every host gives an agent all.
    """
    kept = frozenset(kept)
    _checked(_libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0), "PR_CAP_AMBIENT")
    number = 0
    while _libc.prctl(_PR_CAPBSET_READ, number, 0, 0, 0) >= 0:
        if number not in kept:
            _checked(_libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0), "PR_CAPBSET_DROP")
        number += 1
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice, for 64 bits
    _checked(_libc.capget(header, data), "capget")
    bits = sum(1 << capability for capability in kept)
    low, high = data[1] & bits & 0xFFFFFFFF, data[4] & (bits >> 32)
    data[:] = [low, low, 0, high, high, 0]
    _checked(_libc.capset(header, data), "capset")


# ── Signals ──────────────────────────────────────────────────────────────────


def block_signals() -> None:
    """Block every signal for this thread: sigprocmask(2)."""
    everything = ctypes.create_string_buffer(b"\xff" * _SIGSET_BYTES, _SIGSET_BYTES)
    _checked(_libc.sigprocmask(_SIG_BLOCK, everything, None), "sigprocmask")


def reset_signals() -> None:
    """Unblock every signal and give each its default meaning back.

    What is ignored is inherited through exec: Python ignores two, and the agent's parent may have
    ignored any.
    """
    default = ctypes.create_string_buffer(_SIGACTION_BYTES)
    for number in range(1, _SIGNALS_MAX + 1):  # by the kernel: glibc keeps two for itself
        _libc.syscall(_SYS_RT_SIGACTION[os.uname().machine], number, default, None, _KERNEL_SIGSET)
    nothing = ctypes.create_string_buffer(_SIGSET_BYTES)
    _checked(_libc.sigprocmask(_SIG_SETMASK, nothing, None), "sigprocmask")


def signal_descriptor(number: int) -> int:
    """Return a descriptor that is readable while signal `number` is pending: signalfd(2)."""
    bits = (1 << (number - 1)).to_bytes(_SIGSET_BYTES, "little")
    mask = ctypes.create_string_buffer(bits, _SIGSET_BYTES)
    return _checked(_libc.signalfd(-1, mask, os.O_CLOEXEC | os.O_NONBLOCK), "signalfd")
