"""Which engine's container this is, if it is one. Pure.

Files such as /.dockerenv tell of the image as well: a machine whose disk was once a container's has
them, too. So namespaces decide whether this is a container, and files only whose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from common.findings import Surroundings

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from agent.root.mountinfo import Mount

MARKERS = {
    "/run/.containerenv": Surroundings.PODMAN,
    "/.dockerenv": Surroundings.DOCKER,
    "/run/systemd/container": Surroundings.CONTAINER,
}
_PODS_FILES = ("/etc/hosts", "/dev/termination-log")
_PODS_FOLDER = "/pods/"  # below the kubelet's, wherever that is
MACHINES_NAMESPACES = {"pid": 0xEFFFFFFC, "uts": 0xEFFFFFFE, "ipc": 0xEFFFFFFF}
"""Inode numbers of those that a machine boots with: linux/proc_ns.h."""


def surroundings(
    namespaces: Mapping[str, int], markers: Collection[str], mounts: Iterable[Mount]
) -> Surroundings:
    """Tell from this process's namespaces, those of `MARKERS` that exist, and the mounts."""
    if all(namespaces.get(kind) == number for kind, number in MACHINES_NAMESPACES.items()):
        return Surroundings.MACHINE
    if any(mount.point in _PODS_FILES and _PODS_FOLDER in mount.root for mount in mounts):
        return Surroundings.KUBERNETES
    found = (engine for path, engine in MARKERS.items() if path in markers)
    return next(found, Surroundings.CONTAINER)
