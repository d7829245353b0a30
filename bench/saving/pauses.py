"""How long a program in the session is held up while its files are saved.

And how long the agent's event loop does not come round meanwhile: everybody who uses the session
waits for it. Two kinds of programs in turn, one that writes, and one that has each block on the
disk before it goes on.
"""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING

from bench.saving.deeds import STAMPS_NAME
from bench.saving.holding import peaks
from bench.saving.notes import Window, pause
from bench.saving.peers import peers
from bench.saving.samples import (
    BY_RESTIC,
    BY_TAR,
    BYSTANDER,
    FOLDER,
    IDLE,
    LARGE,
    LARGE_MEGABYTES,
    LOOP,
    RESTIC,
    SMALL,
    SYNCS,
    WRITES,
)
from bench.saving.studio import Studio
from bench.saving.ticker import bystander

if TYPE_CHECKING:
    from pathlib import Path

    from bench.checkpoints.tools import Store
    from bench.saving.samples import Samples
    from bench.saving.studio import Session

_SMALL_TIMES = 5
"""One takes some tenths of a second: too few writes for a thousandth of them."""
_IDLE_SECONDS = 3.0


async def measure(folder: Path, store: Store, samples: Samples) -> None:
    """Do everything once with each kind of program."""
    for who in (WRITES, SYNCS):
        within = folder / who
        within.mkdir()
        await _Measured(within, store.within(who), samples, who).run()


class _Measured:
    def __init__(self, folder: Path, store: Store, samples: Samples, who: str) -> None:
        self._folder = folder
        self._store = store
        self._samples = samples
        self._who = who
        self._megabytes = str(LARGE_MEGABYTES)
        self._windows: dict[str, list[Window]] = {}

    async def run(self) -> None:
        studio = Studio(self._folder, self._store)
        async with bystander(self._folder) as other, studio.session() as session:
            await session.save()  # what the tool's start left
            await session.do("begin_writing", **({"synced": "yes"} if self._who == SYNCS else {}))
            await self._work(session)
            await session.do("end_writing")
            stamps = session.stamps(STAMPS_NAME)
            await session.stop()
        name = self._store.name
        for during, windows in self._windows.items():
            self._samples.add_pause(name, during, self._who, pause(stamps, windows))
            self._samples.add_pause(name, during, LOOP, session.notes.loop_pause(windows))
            self._samples.add_pause(name, during, BYSTANDER, pause(other.stamps(), windows))

    async def _work(self, session: Session) -> None:
        begin_ns = monotonic_ns()
        await asyncio.sleep(_IDLE_SECONDS)
        self._windows[IDLE] = [Window(begin_ns, monotonic_ns())]
        self._windows[SMALL] = []
        for number in range(_SMALL_TIMES):
            await session.do("change", seed=str(number))
            self._windows[SMALL].append(await session.save())
        await session.do("fill", megabytes=self._megabytes, part="files")
        self._windows[LARGE] = [await session.save()]
        pid = session.agent.process.pid
        self._samples.peaks.setdefault(LARGE, []).append(peaks(pid))
        if self._store.name == FOLDER:
            for peer in await peers(self._store, self._folder):
                _, window = await peer.save(session)
                self._windows[BY_RESTIC if peer.name == RESTIC else BY_TAR] = [window]
