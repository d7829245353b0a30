"""One capture: what a volume shows, at one instant where it has snapshots, committed.

    snapshot ─ what changed? ─┬─ nothing: what is saved is still true
                              └─ write ─ committed ─ snapshot dropped

    tidied up ─┬─ after a commit: the snapshot's space counts as free, the work directory is swept
               └─ after some that found nothing changed: the saver rests

The snapshot is dropped before anything else happens, however the capture ended: it keeps the space
of all that is deleted after it. For the same reason one is given up that stands still, or that is
in the way of a volume that becomes full; nothing is lost but its time.

Without snapshots the files are read as they are at each instant, see `agent.volume.live_files`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import structlog

from agent.checkpointing.changes import Found
from agent.checkpointing.saver import SaverError, SupersededError
from agent.volume.changes.point import UPPER
from agent.volume.volume import VolumeError
from common.tasks import first_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from agent.checkpointing.changes import ChangeFinder
    from agent.checkpointing.facts import Saved, SaveProgress
    from agent.checkpointing.saver import Saver
    from common.clock import Clock

WATCH_SECONDS = 5.0
"""Between two looks at a capture under way."""
STALLED_SECONDS_MAX = 300.0
"""Without any progress: the next one starts over, with a snapshot that pins less."""
IDLE_CAPTURES_MAX = 2
"""That found nothing changed, before the saver's process is ended for its memory."""

_log = structlog.get_logger()


class GivenUpError(Exception):
    """A capture was given up; a later one may succeed. The text is a sentence."""


class Views(Protocol):
    """How a volume is seen by a capture: `Snapshots` or `LiveFiles`."""

    def taken(self) -> AbstractAsyncContextManager[Path]:
        """Give `active`, or a copy of it that nobody writes to, for the length of a block."""
        ...

    async def reclaim(self, mount_point: Path) -> None:
        """Have what copies that are gone have kept count as free."""
        ...


class VolumeCapture:
    """Of one volume, under the checkpoint that the saver has opened. One at a time."""

    def __init__(
        self,
        views: Views,
        active: Path,
        saver: Saver,
        finder: ChangeFinder,
        *,
        checkpoint_id: str,
        is_full: Callable[[], bool],
        clock: Clock,
    ) -> None:
        """`active` is the volume's folder of that name; `is_full` tells of one at its limit."""
        self._views = views
        self._active = active
        self._saver = saver
        self._finder = finder
        self._checkpoint_id = checkpoint_id
        self._is_full = is_full
        self._clock = clock
        self._moved_at = 0.0
        self._idle = 0
        self._has_committed = False
        """Since it was tidied up."""
        self._has_more_to_sweep = False

    async def take(self, saved: Saved | None, *, final: bool) -> Saved:
        """Commit what the volume shows now; return the generation that says so.

        That is `saved`, the last one, if nothing has changed since. Raise SaverError, VolumeError,
        GivenUpError. Cancelled, it returns once nothing uses the volume any more.
        """
        try:
            async with self._views.taken() as snapshot:
                taken = await self._take(snapshot, saved, final=final)
        except VolumeError as error:
            if not final:
                raise
            # Such as one that the kernel has stopped writing to: it can still be read.
            _log.warning("last_capture_without_snapshot", reason=str(error))
            return await self._write(Found(self._active / UPPER, None, _nothing), final=True)
        self._has_committed = taken is not saved
        return taken

    async def tidy_up(self) -> None:
        """Give back what the last capture, or that none was needed, leaves to give back.

        Nothing that anybody waits for depends on it. To be cancelled at any time.
        """
        has_committed, self._has_committed = self._has_committed, False
        if has_committed:
            await self._reclaim()
        if has_committed or self._has_more_to_sweep:
            await self._sweep()
        elif self._idle >= IDLE_CAPTURES_MAX:
            await self._saver.rest()

    async def _take(self, snapshot: Path, saved: Saved | None, *, final: bool) -> Saved:
        found = await self._finder.find(snapshot)
        if final or saved is None or found.changes is None or found.changes:
            self._idle = 0
            saved = await self._write(found, final=final)
        else:
            self._idle += 1
        found.commit()
        return saved

    async def _write(self, found: Found, *, final: bool) -> Saved:
        self._moved_at = self._clock.monotonic()
        live = self._active / UPPER
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(
                    self._watch(was_full=self._is_full()), name="watch-capture"
                )
                saved = await self._saver.write(
                    found.folder,
                    originals=live if found.folder != live else None,
                    changes=found.changes,
                    final=final,
                    progress=self._moved,
                )
                watch.cancel()
        except BaseExceptionGroup as errors:
            error = first_of(errors)
            if final and isinstance(error, SupersededError):
                return await self._ended(error)
            raise error from None
        return saved

    async def _ended(self, error: SupersededError) -> Saved:
        """Return the last generation if it is there: its saver was killed before it could say so.

        Nobody but whoever has the volume writes that one; and nothing writes to the volume any
        more, so whichever try has committed it, has committed all.
        """
        newest = await self._saver.newest(self._checkpoint_id)
        if newest is None or not newest.final:
            raise error
        _log.info("last_capture_was_committed", generation=newest.generation)
        return newest

    def _moved(self, _: SaveProgress) -> None:
        self._moved_at = self._clock.monotonic()

    async def _watch(self, *, was_full: bool) -> None:
        """Raise GivenUpError once the snapshot costs more than it is worth.

        Of a volume that was full before, it is worth having: what is deleted is there again later.
        """
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            if self._is_full() and not was_full:
                raise GivenUpError("The volume became full, and what is being saved takes room.")
            if self._clock.monotonic() - self._moved_at > STALLED_SECONDS_MAX:
                raise GivenUpError("The work directory took nothing for five minutes.")

    async def _reclaim(self) -> None:
        """Have what the snapshot kept count as free: by itself that takes half a minute."""
        try:
            await self._views.reclaim(self._active.parent)
        except VolumeError as error:
            _log.info("space_not_reclaimed", reason=str(error))

    async def _sweep(self) -> None:
        """Delete what the work directory need not hold any more.

        What is to go goes in two steps, ten minutes apart, and only a saver that lived meanwhile
        does the second. What it leaves, a collection deletes, days later.
        """
        try:
            self._has_more_to_sweep = (await self._saver.sweep()).is_waiting
        except SaverError as error:
            self._has_more_to_sweep = False
            _log.info("checkpoint_not_swept", reason=str(error))


def _nothing() -> None: ...
