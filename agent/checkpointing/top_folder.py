"""The top folder of a new volume, which covers that of what was restored below it.

An overlay takes owner, mode and attributes of a folder from the topmost layer that has it, and each
layer has a top folder: without this, a session that changed those of its `/` would lose them.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_OVERLAY = "trusted.overlay."


def give_top(upper: Path, below: Path) -> None:
    """Give an `upper` in which nothing is yet what the folder `below` has. Blocks shortly."""
    with os.scandir(upper) as names:
        if next(names, None) is not None:
            return  # it is in use already, and has its own
    status = below.stat()
    os.chown(upper, status.st_uid, status.st_gid)
    upper.chmod(stat.S_IMODE(status.st_mode))
    for name in os.listxattr(below):
        if not name.startswith(_OVERLAY):
            os.setxattr(upper, name, os.getxattr(below, name))
    os.utime(upper, ns=(status.st_atime_ns, status.st_mtime_ns))
