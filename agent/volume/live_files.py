"""The files of a volume without snapshots, as whoever captures them finds them.

Programs write on while they are read. The writer of checkpoints looks at a file before and after it
reads it, reads it again if it changed, and counts those that it never got whole. What is moved from
a folder that is still to be read to one that was read already is in neither; a later capture has
it.
At the end nobody writes any more, and all is whole.

**Changes that leave no trace.** What changed since the last capture is told by a file's times, and
a program that writes through a mapping moves them only with the first write to a page that is not
yet waiting for the disk. If that came before a capture, what follows goes unseen. So everything is
written to disk first, again and again until there is hardly anything left to write: a page that is
written to afterwards moves the times to an instant for which the next capture looks again, see
`checkpoints.writing.compared`.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from agent.volume import syscalls
from agent.volume.volume import VolumeError
from common.threads import Threads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.clock import Clock

QUICK_SECONDS = 0.5
"""A write of everything that took no longer began well within the two seconds before a capture for
which the next one looks again."""
SYNCS_MAX = 4
"""Somebody who writes as fast as the disk can keeps each of them long: then the capture begins."""


class LiveFiles:
    """Of one attached volume. Stands where `Snapshots` does."""

    def __init__(self, active: Path, *, clock: Clock) -> None:
        self._active = active
        self._clock = clock
        self._threads = Threads(1, "live-files")

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Path]:
        """Give `active` itself, once what was written before is on the disk."""
        for _ in range(SYNCS_MAX):
            began = self._clock.monotonic()
            try:
                await self._threads.run(_sync, self._active)
            except OSError as error:
                raise VolumeError(f"the files can't be written: {error.strerror}") from error
            if self._clock.monotonic() - began <= QUICK_SECONDS:
                break
        yield self._active

    async def reclaim(self, mount_point: Path) -> None:
        """Do nothing: no deleted file was kept."""


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.syncfs(fd)
    finally:
        os.close(fd)
