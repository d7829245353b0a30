"""Ends processes that hang in a dead data link: aborts the FUSE connections below a folder.

Who waits for a FUSE server that has taken a request and never answers can't be killed: the kernel
waits for the answer, whatever signal comes. The server may itself hang in the network, or be gone
in a way that leaves its descriptor open elsewhere. Aborting the connection fails every request that
is waiting and every later one; the processes get an error, and a signal that was pending ends them.

The kernel offers this as files, one folder for each connection, in a file system of its own. It is
mounted where it isn't, for as long as the abort takes: a container often has none.

The kernel gives the number of a connection that has ended to the next, maybe a stranger's. So its
file is opened first, and written only if the mount is still there then: an open file stays that of
the connection it was opened for, and does nothing once that has ended.

**Not reversible**, and a connection is one wherever its file system is mounted: `folder` must only
hold mounts of the session's own.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.root import kernel, mountinfo
from agent.root.paths import is_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from agent.root.mountinfo import Mount

_CONTROL = "/sys/fs/fuse/connections"
_CONTROL_KIND = "fusectl"
_MINOR_BITS = 20  # of the kernel's own device numbers, by which it names connections


@dataclass(frozen=True, slots=True)
class Connection:
    """One FUSE server's, by the kernel's number for it, and one place where it is mounted."""

    number: int
    point: str


def abort_below(folder: str) -> tuple[str, ...]:
    """Abort those of all mounts at or below `folder`; return where they were mounted.

    `folder` is a real path in this process's mount namespace. Asks no FUSE server anything, so it
    can't hang in what it ends; it may wait for others who change mounts. Raise OSError where the
    kernel's files can't be had. Idempotent.
    """
    mounts = _mounts()
    found = connections_below(mounts, folder)
    if not found:
        return ()
    with _control_files(mounts), contextlib.ExitStack() as closing:
        aborts = {connection: closing.enter_context(_abort(connection)) for connection in found}
        there = connections_below(_mounts(), folder)
        for connection, abort in aborts.items():
            if connection in there and abort is not None:
                os.write(abort, b"1")
    return tuple(connection.point for connection in found)


def _mounts() -> tuple[Mount, ...]:
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="surrogateescape")
    return mountinfo.parse(table)


@contextlib.contextmanager
def _abort(connection: Connection) -> Iterator[int | None]:
    try:
        fd = os.open(f"{_CONTROL}/{connection.number}/abort", os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:  # it ended by itself
        yield None
        return
    try:
        yield fd
    finally:
        os.close(fd)


def connections_below(mounts: Iterable[Mount], folder: str) -> tuple[Connection, ...]:
    """Choose the mounts; one that several cover, or that is there twice, is named once. Pure."""
    chosen: dict[int, Connection] = {}
    for mount in mounts:
        if not _is_fuse(mount) or not is_within(mount.point, folder):
            continue
        major, minor = mount.device
        number = major << _MINOR_BITS | minor
        chosen.setdefault(number, Connection(number, mount.point))
    return tuple(chosen.values())


def _is_fuse(mount: Mount) -> bool:
    return mount.kind in {"fuse", "fuseblk"} or mount.kind.startswith(("fuse.", "fuseblk."))


@contextlib.contextmanager
def _control_files(mounts: Iterable[Mount]) -> Iterator[None]:
    if any(mount.kind == _CONTROL_KIND and mount.point == _CONTROL for mount in mounts):
        yield
        return
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount(_CONTROL_KIND, _CONTROL, _CONTROL_KIND, flags)
    try:
        yield
    finally:
        kernel.unmount(_CONTROL, kernel.MNT_DETACH)
