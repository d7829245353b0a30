"""What the other sessions on the same disk may still write to it.

An image is sparse: its volume promises more than the disk has given yet. Any program in a session
may claim the rest at any moment, and a disk that is full then stops every file system on it. So
what living neighbours were promised is not there to be given a second time.

Neighbours are the other folders beside a session's own. One that no agent holds promises nothing
now; its agent, once it starts, is refused growth rather than its start. Two sessions that grow in
the same instant don't see each other's growth: only one ledger for all of them could tell.
"""

from __future__ import annotations

import fcntl
import itertools
import os
from typing import TYPE_CHECKING

from agent.host_state import HostState

if TYPE_CHECKING:
    from pathlib import Path

NEIGHBOURS_MAX = 10_000
"""Looked at each time a volume grows: one takes some 15 µs, so a fifth of a second at most."""
_BLOCK_BYTES = 512  # of st_blocks, whatever the file system's own are: stat(2)


def promised_bytes(size_bytes: int, facts: os.stat_result) -> int:
    """Return how much a sparse file of that size may still take from its disk."""
    return max(0, size_bytes - facts.st_blocks * _BLOCK_BYTES)


def promised_to_others_bytes(image: Path) -> int:
    """Return what the volumes in use beside this one, on the same disk, may still take from it."""
    own = image.parent
    try:
        disk = own.stat().st_dev
        with os.scandir(own.parent) as folders:
            names = [folder.name for folder in itertools.islice(folders, NEIGHBOURS_MAX)]
    except OSError:
        return 0  # nothing to be seen there: then there are none that we know of
    return sum(
        _promised_bytes(own.with_name(name) / image.name, disk)
        for name in names
        if name != own.name
    )


def _promised_bytes(image: Path, disk: int) -> int:
    try:
        facts = image.stat()
    except OSError:
        return 0
    promised = promised_bytes(facts.st_size, facts)
    if not promised or facts.st_dev != disk:
        return 0
    return promised if _is_in_use(image.parent) else 0


def _is_in_use(folder: Path) -> bool:
    """Tell if an agent holds the folder.

    The lock is asked for beside others who ask, and held for an instant: an agent that starts just
    then finds it taken and tries again.
    """
    try:
        fd = os.open(HostState(folder).lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
