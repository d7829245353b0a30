"""What saving costs, in whole sessions: with a folder, and with a bucket.

**Start here.** `run` does everything in every round, the stores in turn:

    pauses    a program writes on while 10 MB, and 1 GB, are saved
    everyday  a package is installed, a notebook saved, a commit made: how long, how many bytes
    holding   nothing is changed any more: how much memory
    restarts  100 MB and 1 GB are written, the session stopped and started; 5 GB with `--full`
"""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from bench.checkpoints import bucket
from bench.checkpoints.tools import Store
from bench.disk import scratch
from bench.saving import everyday, holding, pauses, restarts
from bench.saving.figures import findings, in_short
from bench.saving.samples import FOLDER, LARGE_MEGABYTES, S3, Samples

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from bench.results import Findings

MEGABYTES = (0, 100, LARGE_MEGABYTES)
FULL_MEGABYTES = (*MEGABYTES, 5000)
_DISK_BYTES_MAX = 12_000_000_000
_FULL_DISK_BYTES_MAX = 24_000_000_000


async def run(rounds: int, _seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure all, or raise BenchError."""
    return await _measure(rounds, say, MEGABYTES, _DISK_BYTES_MAX)


async def run_full(rounds: int, _seconds: float, say: Callable[[str], None]) -> Findings:
    """Measure the same with more files, too."""
    return await _measure(rounds, say, FULL_MEGABYTES, _FULL_DISK_BYTES_MAX)


async def _measure(
    rounds: int, say: Callable[[str], None], sizes: tuple[int, ...], disk_bytes_max: int
) -> Findings:
    samples = Samples()
    async with scratch(disk_bytes_max) as folder:
        say("putting packages together")
        work = await asyncio.to_thread(everyday.prepared, folder)
        async with bucket.serving(folder / "s3") as endpoint:
            stores = [
                Store(FOLDER, folder / "repositories"),
                Store(S3, folder / "s3" / bucket.NAME, endpoint),
            ]
            stores[0].folder.mkdir()
            for number in range(rounds):
                for base in stores if number % 2 == 0 else reversed(stores):
                    one = _Round(folder, base, samples, number, say)
                    await one.measure(work, sizes)
    return findings(samples, rounds)


class _Round:
    def __init__(
        self,
        folder: Path,
        base: Store,
        samples: Samples,
        number: int,
        say: Callable[[str], None],
    ) -> None:
        self._folder = folder
        self._base = base
        self._samples = samples
        self._number = number
        self._say = say

    async def measure(self, work: everyday.Materials, sizes: tuple[int, ...]) -> None:
        name, samples = self._base.name, self._samples
        async with self._place("pauses") as (folder, store):
            await pauses.measure(folder, store, samples)
        self._say(f"round {self._number + 1}  {name:6}  a program wrote on while files were saved")
        async with self._place("everyday") as (folder, store):
            await everyday.measure(folder, store, samples, work, self._number)
        if self._base.name == FOLDER:
            async with self._place("rest") as (folder, store):
                await holding.measure(folder, store, samples)
        for line in in_short(samples, name):
            self._say(f"round {self._number + 1}  {name:6}  {line}")
        for megabytes in sizes:
            async with self._place(f"restart{megabytes}") as (folder, store):
                found = await restarts.measure(folder, store, samples, megabytes)
            self._say(
                f"round {self._number + 1}  {name:6}  {megabytes} MB: "
                f"stop {found.stop_seconds:.2f} s, start {found.start_seconds:.2f} s"
            )

    @asynccontextmanager
    async def _place(self, name: str) -> AsyncIterator[tuple[Path, Store]]:
        """Give a folder and a store while inside; what is in them goes, or the disk were full.

        A new place each time: rclone remembers folders' names for minutes.
        """
        name = f"{name}{self._number}"
        folder = self._folder / self._base.name / name
        folder.mkdir(parents=True)
        store = self._base.within(name)
        yield folder, store
        await asyncio.to_thread(shutil.rmtree, folder)
        await asyncio.to_thread(shutil.rmtree, store.folder)
