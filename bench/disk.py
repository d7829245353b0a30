"""A folder on the machine's disk for the length of a benchmark, and the machine's page cache."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_PLACE = Path("/var/lib")  # /tmp may be in memory, and a session sees its own
_PREFIX = "studios-bench-"
_DROP_CACHES = Path("/proc/sys/vm/drop_caches")
_PAGES_AND_INODES = "3"


@asynccontextmanager
async def scratch(bytes_max: int) -> AsyncIterator[Path]:
    """Make a folder for up to `bytes_max`, and remove it, also on Ctrl-C."""
    if os.geteuid() != 0:
        raise BenchError("sessions, volumes and cold caches need root")
    if (free_bytes := shutil.disk_usage(_PLACE).free) < bytes_max:
        raise BenchError(
            f"{_PLACE} has {free_bytes / 1e9:.1f} GB free, this takes up to {bytes_max / 1e9:.1f}"
        )
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=_PLACE) as name:
        os.chmod(name, 0o755)  # a session looks into it like anybody
        yield Path(name)


async def drop_caches() -> None:
    """Have the kernel forget all it has read: files are cold then, also for everybody else.

    What is below a virtual machine may still have them in memory.
    """
    await asyncio.to_thread(_drop)


def _drop() -> None:
    os.sync()  # only what is written can be forgotten
    _DROP_CACHES.write_text(_PAGES_AND_INODES, encoding="ascii")
