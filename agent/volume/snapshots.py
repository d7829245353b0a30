"""A read-only copy of the volume for the length of a block, and none left behind.

A snapshot keeps the space of all that is deleted after it, so it has to go, whatever becomes of
whoever took it. Each has a task of its own, which takes it, waits until nobody needs it, and drops
it. Whoever gives up waiting for a slow disk gives up at once; the task goes on until the kernel is
done, and drops what came of it. One that can't be dropped is tried again before the next. Those of
a killed agent are dropped when the volume is attached.

**Space comes back late by itself.** A dropped snapshot is only put on a list. Every half minute the
kernel commits, and then takes down what is on the list; what that frees counts as free after the
commit that follows. Seen with 400 MB: 31 s after the drop; after one commit by hand 15 s; with a
second, once the list was empty, 0.04 s.

`Volume.settle` would not do: it asks the kernel's committing thread, which takes no notice if there
is nothing to commit; and if it is about to go to sleep, the caller waits for half a minute.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from agent.volume import syscalls
from agent.volume.changes.tree_search import LOOKUP_BYTES, NUMBER_MAX, ROOT_TREE, Key, TreeSearch
from agent.volume.volume import NotAttachedError, VolumeError
from common.threads import Threads

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator
    from pathlib import Path

    from agent.volume.volume import Volume
    from common.clock import Clock
    from common.tasks import TaskBag

RECLAIM_SECONDS_MAX = 20.0
"""The kernel takes down a snapshot of 200 000 files in a fraction of a second. If it has much else
to take down, the rest comes back by itself."""
RECLAIM_INTERVAL_SECONDS_MIN, RECLAIM_INTERVAL_SECONDS_MAX = 0.02, 0.5
"""Between looks, each with a commit, which holds up writers: at first often, as it mostly takes one
or two, then less and less."""

_SYNC = 0x9408  # linux/btrfs.h: BTRFS_IOC_SYNC
_NAME = "capture-{:016x}"
_ORPHANS, _ORPHAN = NUMBER_MAX - 4, 48  # linux/btrfs_tree.h: what is being taken down
_log = structlog.get_logger()


class Snapshots:
    """Takes and drops those of one attached volume, one at a time."""

    def __init__(self, volume: Volume, *, tasks: TaskBag, clock: Clock, rng: random.Random) -> None:
        """`tasks` are the owner's. Closed before the volume is detached, they drop what is left."""
        self._volume = volume
        self._tasks = tasks
        self._clock = clock
        self._rng = rng
        self._one = asyncio.Lock()
        self._left: set[str] = set()
        """Those that could not be dropped."""

    @asynccontextmanager
    async def taken(self) -> AsyncIterator[Path]:
        """Give a read-only copy of `active`, with all that was written before.

        Everything is written to disk first, which takes as long as it takes: the caller sets the
        limit. Raises as `Volume.snapshot`.
        """
        path: asyncio.Future[Path] = asyncio.get_running_loop().create_future()
        unneeded = asyncio.Event()
        life = self._tasks.spawn(self._live(path, unneeded), name="snapshot")
        try:
            yield await path
        finally:
            unneeded.set()
            if not path.cancelled():
                await asyncio.shield(life)

    async def _live(self, path: asyncio.Future[Path], unneeded: asyncio.Event) -> None:
        try:
            async with self._one:
                await self._drop(*self._left)
                if not unneeded.is_set():
                    await self._take_and_drop(path, unneeded)
        finally:
            path.cancel()  # where nothing will come any more, nobody waits for it

    async def _take_and_drop(self, path: asyncio.Future[Path], unneeded: asyncio.Event) -> None:
        name = _NAME.format(self._rng.getrandbits(64))
        try:
            await self._take(name, path)
            await unneeded.wait()
        finally:
            await self._drop(name)

    async def _take(self, name: str, path: asyncio.Future[Path]) -> None:
        try:
            taken = await self._volume.snapshot(name)
        except VolumeError as error:
            if not path.done():
                path.set_exception(error)
        else:
            if not path.done():
                path.set_result(taken)

    async def _drop(self, *names: str) -> None:
        for name in names:
            self._left.add(name)
            try:
                await self._volume.drop_snapshot(name)
            except NotAttachedError:  # attaching drops it
                pass
            except VolumeError as error:
                _log.warning("snapshot_stays", name=name, reason=str(error))
                continue
            self._left.discard(name)

    async def reclaim(self, mount_point: Path) -> None:
        """Have what was deleted under snapshots that were dropped since count as free.

        Stops waiting after RECLAIM_SECONDS_MAX, or when nothing can be written.
        """
        end = self._clock.monotonic() + RECLAIM_SECONDS_MAX
        interval_seconds = RECLAIM_INTERVAL_SECONDS_MIN
        with Threads(1, "reclaim") as threads:
            try:
                while await threads.run(_is_taking_down, mount_point):
                    if self._clock.monotonic() >= end:
                        _log.info("volume_reclaims_slowly", seconds=RECLAIM_SECONDS_MAX)
                        break
                    await threads.run(_commit, mount_point)
                    await self._clock.sleep(interval_seconds)
                    interval_seconds = min(2 * interval_seconds, RECLAIM_INTERVAL_SECONDS_MAX)
                await threads.run(_commit, mount_point)
            except OSError as error:
                _log.info("volume_not_reclaimed", reason=error.strerror)


def _is_taking_down(mount_point: Path) -> bool:
    """Say whether the kernel has dropped snapshots on its list."""
    fd = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        search = TreeSearch(fd, ROOT_TREE, buffer_bytes=LOOKUP_BYTES)
        first, last = Key(_ORPHANS, _ORPHAN), Key(_ORPHANS, _ORPHAN, NUMBER_MAX)
        return any(True for _ in search.items(first, last, {_ORPHAN}))
    finally:
        os.close(fd)


def _commit(mount_point: Path) -> None:
    """Commit, and wake who takes down. No other call does the second where the first is idle."""
    fd = os.open(mount_point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscalls.ioctl_number(fd, _SYNC)
    finally:
        os.close(fd)
