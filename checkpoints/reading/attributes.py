"""Owner, mode, attributes, times: given to what was just made, in the one order that keeps all.

A change of owner clears setuid and capabilities, so it comes first; setting an attribute changes no
time but that of the change, writing content does, so times come last. A folder's times change with
every name in it: it gets everything when all that is in it is there.
"""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from checkpoints.tree.entry import Kind

if TYPE_CHECKING:
    from checkpoints.tree.entry import Entry

OPAQUE_NAME = b"trusted.overlay.opaque"
OPAQUE_VALUE = b"y"
ACCESS_RULES = ("system.posix_acl_default", "system.posix_acl_access")
_MODELESS = frozenset((Kind.SYMBOLIC_LINK, Kind.DELETION))


def give_to_open(fd: int, entry: Entry) -> None:
    """Complete a file or folder that is open. Raises OSError.

    What it has by chance already is left: to look costs a tenth of what a change does, each of
    which is an update of the inode in the file system's journal.
    """
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (entry.user, entry.group):
        os.fchown(fd, entry.user, entry.group)
    if stat.S_IMODE(status.st_mode) != entry.mode:
        os.fchmod(fd, entry.mode)
    if entry.attributes:
        for name, value in entry.attributes:
            os.setxattr(fd, name, value)
    if entry.opaque:
        os.setxattr(fd, OPAQUE_NAME, OPAQUE_VALUE)
    os.utime(fd, ns=(entry.modified_ns, entry.modified_ns))


def give_to_name(folder_fd: int, name: bytes, entry: Entry) -> None:
    """Complete what can't be opened without effects: links, FIFOs, sockets, devices."""
    os.chown(name, entry.user, entry.group, dir_fd=folder_fd, follow_symlinks=False)
    if entry.kind not in _MODELESS:
        os.chmod(name, entry.mode, dir_fd=folder_fd)
    if entry.attributes:
        # There is no call with a folder's descriptor and a name; this is the same.
        path = b"/proc/self/fd/%d/%b" % (folder_fd, name)
        for attribute, value in entry.attributes:
            os.setxattr(path, attribute, value, follow_symlinks=False)
    times = (entry.modified_ns, entry.modified_ns)
    os.utime(name, ns=times, dir_fd=folder_fd, follow_symlinks=False)


def drop_access_rules(fd: int) -> None:
    """Take from a folder what it has from the one above, and would hand on: a tree has its own."""
    for name in ACCESS_RULES:
        with suppress(OSError):  # it has none, or its file system knows none
            os.removexattr(fd, name)
