"""What the folder for volumes lies on, and what a session of this machine would not see. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.root.paths import is_within

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.root.mountinfo import Mount

WITHOUT_HOLES = frozenset({"exfat", "hfs", "hfsplus", "msdos", "ntfs", "vfat"})
"""An image would take its full size at once, or not fit at all."""
IN_MEMORY = frozenset({"ramfs", "tmpfs"})
OF_A_CONTAINER = frozenset({"aufs", "overlay"})
_OVER_THE_NETWORK = ("9p", "afs", "ceph", "cifs", "fuse.", "glusterfs", "lustre", "nfs", "smb")

SYSTEM_FOLDERS = ("/bin", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/sbin", "/usr", "/var")
"""What programs of the machine lie in."""
_MADE_ANEW = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/var/run", "/var/tmp")
_STORES = ("/var/lib", "/var/cache", "/var/log", "/var/spool")
"""Large, and rarely what a program in a session lacks, but for the package database below."""
_NEEDED_STORES = ("/var/lib", "/var/lib/dpkg", "/var/lib/rpm")
_VITAL_DEPTH_MAX = 2  # /usr, /usr/lib, /opt/studios; not /usr/share/doc


def is_over_the_network(kind: str) -> bool:
    """Tell if a file system of this kind stands still when something far away does."""
    return kind == "fuse" or kind.startswith(_OVER_THE_NETWORK)


def mount_at(path: str, mounts: Iterable[Mount]) -> Mount | None:
    """Return the mount that `path`, without links, lies on: of the deepest, the latest."""
    found = None
    for mount in mounts:
        deeper = found is None or len(mount.point) >= len(found.point)
        if is_within(path, mount.point) and deeper:
            found = mount
    return found


def separate_folders(mounts: Iterable[Mount], known: Iterable[str]) -> tuple[str, ...]:
    """Return parts of the system with a file system of their own: an overlay shows them empty.

    `known` are folders that are carried along or belong to the platform.
    """
    known = tuple(known)
    points = {mount.point for mount in mounts if mount.kind != "autofs"}
    return tuple(
        sorted(
            point
            for point in points
            if any(is_within(point, folder) for folder in SYSTEM_FOLDERS)
            and not any(is_within(point, folder) for folder in (*_MADE_ANEW, *known))
            and not _is_unneeded(point)
        )
    )


def is_vital(folder: str) -> bool:
    """Tell if no program runs, or no tool is found, where this folder is empty."""
    return not is_within(folder, "/var") and folder.count("/") <= _VITAL_DEPTH_MAX


def _is_unneeded(point: str) -> bool:
    in_store = any(is_within(point, store) for store in _STORES)
    return in_store and point not in _NEEDED_STORES
