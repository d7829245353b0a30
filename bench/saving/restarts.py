"""A session is stopped, all that is in it saved, and started again: with more and more files.

The start restores all of them before the tool is started: in this version, a restoration is
complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.saving.notes import pause
from bench.saving.samples import BYSTANDER, LARGE_MEGABYTES, LOOP, STARTED, STOPPED, Restart
from bench.saving.studio import Studio
from bench.saving.ticker import bystander
from bench.saving.watched import RESTORE

if TYPE_CHECKING:
    from pathlib import Path

    from bench.checkpoints.tools import Store
    from bench.saving.samples import Samples


async def measure(folder: Path, store: Store, samples: Samples, megabytes: int) -> Restart:
    """Fill a new Studio's session, stop it, start it again, and stop it with nothing changed."""
    studio = Studio(folder, store)
    async with bystander(folder) as other:
        async with studio.session() as session:
            await session.save()
            if megabytes:
                await session.do("fill", megabytes=str(megabytes), part="files")
            stopped = await session.stop()
        async with studio.session() as again:
            ended = await again.stop()
    if megabytes == LARGE_MEGABYTES:
        for during, notes, window in (
            (STOPPED, session.notes, stopped),
            (STARTED, again.notes, again.started),
        ):
            samples.add_pause(store.name, during, LOOP, notes.loop_pause([window]))
            samples.add_pause(store.name, during, BYSTANDER, pause(other.stamps(), [window]))
    restored = again.notes.of(RESTORE, again.started)
    found = Restart(
        stop_seconds=stopped.seconds,
        start_seconds=again.started.seconds,
        restore_seconds=restored.window.seconds,
        next_stop_seconds=ended.seconds,
    )
    samples.restarts.setdefault((store.name, megabytes), []).append(found)
    return found
