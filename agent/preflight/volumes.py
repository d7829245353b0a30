"""The questions of `judgment` about the kind of file system that volumes are of. Pure.

A host without btrfs has XFS or ext4, and a weaker promise, see `agent.volume.kinds`. That is told
by thorough looks only: a session says it of its own volume.
"""

from __future__ import annotations

import errno
from dataclasses import replace
from typing import TYPE_CHECKING

from agent.preflight import needs
from agent.preflight.rights import capability, is_privileged
from agent.volume.kinds import BTRFS, EXT4, PREFERRED

if TYPE_CHECKING:
    from agent.preflight.facts import Facts
    from agent.preflight.needs import Judged
    from agent.volume.file_system import FileSystem

_NO_MKFS = "mkfs.btrfs is not installed"
_LOSS = "files that are being written while they are saved may be saved half-way"


def kind_of_new(facts: Facts) -> FileSystem | None:
    """Return the kind that a new volume will be of; None if none can be made."""
    for kind in PREFERRED:
        is_too_small = facts.place.initial_bytes < kind.size_bytes_min
        if not is_too_small and not _kernel_lacks(kind.name, facts) and _has_mkfs(kind, facts):
            return kind
    return None


def volumes(facts: Facts) -> Judged:
    """Judge the kernel and the programs by what a volume here is, and what new ones will be."""
    own, new = facts.place.volume_kind, kind_of_new(facts)
    kernel_lacks = is_privileged(facts) and _kernel_lacks(BTRFS.name, facts)
    if new is None or (own == BTRFS.name and kernel_lacks):
        yield (
            needs.file_system(BTRFS.name, "volumes"),
            _no_kernel(BTRFS.name) if kernel_lacks else "",
        )
        yield needs.MKFS, "" if _has_mkfs(BTRFS, facts) or new else _NO_MKFS
        return
    if own and own != BTRFS.name and is_privileged(facts) and _kernel_lacks(own, facts):
        yield needs.file_system(own, "the volume that is here"), _no_kernel(own)
    if new is BTRFS or facts.limits is None:
        yield needs.file_system(BTRFS.name, "volumes"), ""
        yield needs.MKFS, ""
    elif kernel_lacks:
        yield needs.file_system(BTRFS.name, "volumes", loss=_LOSS), _no_kernel(BTRFS.name)
    else:
        yield replace(needs.MKFS, loss=_LOSS), _NO_MKFS
    if new is EXT4 and facts.limits is not None and facts.user_id == 0:
        loss = "volumes are promised half of the disk at once"
        yield capability("SYS_RESOURCE", "making volumes of ext4 larger", facts, loss=loss)


def _no_kernel(name: str) -> str:
    return f"the kernel has no {name}"


def _kernel_lacks(name: str, facts: Facts) -> bool:
    return facts.file_systems.get(name, errno.ENODEV) == errno.ENODEV


def _has_mkfs(kind: FileSystem, facts: Facts) -> bool:
    return f"mkfs.{kind.name}" in facts.programs
