"""The last step of every process that becomes the session's: giving up what it must not have."""

from __future__ import annotations

import os
import stat
import sys

from agent.root import kernel

_USUAL_UMASK = 0o022
_MEMORY_KILL_ADJUSTMENT = "/proc/self/oom_score_adj"
_NUMBER_BYTES_MAX = 32
_NOTHING = "/dev/null"
_STANDARD_STREAMS = (0, 1, 2)
_HARMLESS_STREAMS = (stat.S_IFIFO, stat.S_IFSOCK)


def leave_parent_behind() -> None:
    """Give up what came from the agent; to be called while the host's /proc is there."""
    os.umask(_USUAL_UMASK)
    if _memory_kill_adjustment() < 0:
        # Written with privilege, this is also the least that the session can set.
        write(_MEMORY_KILL_ADJUSTMENT, "0")
    kernel.join_new_session_keyring()


def confine(seccomp: bytes, capabilities: tuple[int, ...]) -> None:
    """Give up every stream, system call and capability that the session doesn't have.

    To be called inside the session. The filter comes before the capabilities: without
    `no_new_privs`, which would break sudo, installing it needs one. Nothing is imported any more
    from here on: a name that isn't loaded is an error, and never a file of the session.
    """
    _leave_outer_streams()
    sys.path.clear()
    sys.meta_path.clear()
    sys.path_hooks.clear()
    sys.path_importer_cache.clear()
    kernel.set_seccomp_filter(seccomp)
    kernel.keep_capabilities(capabilities)


def _leave_outer_streams() -> None:
    """Put the session's own /dev/null in the place of each stream that is not a pipe or socket.

    Whoever holds a descriptor of the machine's /dev/null can change that file's mode, though the
    session's own is on a read-only mount; a terminal takes what is pushed into it as typed.
    """
    own: int | None = None
    for stream in _STANDARD_STREAMS:
        if stat.S_IFMT(os.fstat(stream).st_mode) in _HARMLESS_STREAMS:
            continue
        if own is None:
            own = os.open(_NOTHING, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
        os.dup2(own, stream)
    if own is not None:
        os.close(own)


def _memory_kill_adjustment() -> int:
    fd = os.open(_MEMORY_KILL_ADJUSTMENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(fd, _NUMBER_BYTES_MAX))
    finally:
        os.close(fd)


def write(path: str, text: str) -> None:
    """Write to a file of the kernel's, at once."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
