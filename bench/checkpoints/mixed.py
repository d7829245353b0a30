"""1.2 GB in 25 000 files: write, write again, read back; to a folder and to S3."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bench.checkpoints import bucket, ours
from bench.checkpoints.data import MIXED
from bench.checkpoints.facts import count, facts, must_equal
from bench.checkpoints.messages import Collect, Restore, Write
from bench.checkpoints.samples import (
    COLLECTED,
    FIRST,
    FOLDER,
    OURS,
    OURS_LISTED,
    OURS_SCANNED,
    RESTORE,
    S3,
    TAR,
    UNCHANGED,
)
from bench.checkpoints.tools import Borg, Restic, Store, Tar
from bench.checkpoints.trees import removed, settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.checkpoints.facts import Facts
    from bench.checkpoints.messages import Where
    from bench.checkpoints.samples import Samples
    from bench.checkpoints.tools import Tool
    from bench.checkpoints.trees import Ground

_UNCHANGED_TIMES = 3
"""It takes some milliseconds only."""


async def measure(
    ground: Ground, samples: Samples, rounds: int, say: Callable[[str], None]
) -> None:
    """Do everything in every round, with another tool first each time."""
    say("writing the files")
    source = await ground.make(MIXED)
    expected = await asyncio.to_thread(facts, source)  # and they are in the page cache now
    samples.data = count(expected)
    async with bucket.serving(ground.disk / "s3") as endpoint:
        folder = Store(FOLDER, ground.disk / "repositories")
        folder.folder.mkdir()
        s3 = Store(S3, ground.disk / "s3" / bucket.NAME, endpoint)
        round_of = _Round(ground, source, expected, samples)
        for number in range(rounds):
            for base in (folder, s3):
                # A new place each time: rclone remembers folders' names for minutes.
                store = base.within(f"round{number}")
                tools: list[Tool | None] = [None, Restic(store, ground.disk)]
                if base is folder:
                    tools += [Borg(store, ground.disk), Tar(store, ground.disk)]
                first = number % len(tools)
                for tool in (*tools[first:], *tools[:first]):
                    name = await (round_of.peer(tool) if tool else round_of.ours(store))
                    took = _in_short(samples, store, name)
                    say(f"round {number + 1}/{rounds}  {store.name:6}  {took}")


class _Round:
    def __init__(self, ground: Ground, source: Path, expected: Facts, samples: Samples) -> None:
        self._ground = ground
        self._source = source
        self._expected = expected
        self._samples = samples

    async def peer(self, tool: Tool) -> str:
        """Do everything once; return the tool's name."""
        store = tool.store.name
        await tool.create()
        await settled()
        self._samples.add(store, FIRST, tool.name, await tool.write(self._source))
        self._samples.sizes[store, FIRST, tool.name] = tool.store.stored_bytes(tool.name)
        if tool.name != TAR:
            await settled()
            self._samples.add(store, UNCHANGED, tool.name, await tool.write(self._source))
        target = await self._ground.target()
        self._samples.add(store, RESTORE, tool.name, await tool.restore(target))
        await self._check(target, f"what {tool.name} read back ({store})")
        await removed(tool.store.folder / tool.name)
        return tool.name

    async def ours(self, store: Store) -> str:
        """Do everything once."""
        samples, folder = self._samples, str(self._source)
        where = await ours.create(store, OURS, self._ground.disk)
        await settled()
        async with ours.worker(self._ground.disk) as worker:
            answer, cost = await worker.ask_first(Write(where=where, folder=folder))
            samples.add_ours(store.name, FIRST, OURS, answer, cost)
            samples.sizes[store.name, FIRST, OURS] = store.stored_bytes(OURS)
            for tool, changed in ((OURS_LISTED, ()), (OURS_SCANNED, None)):
                for _ in range(_UNCHANGED_TIMES):
                    await settled()
                    again = await worker.ask(Write(where=where, folder=folder, changed=changed))
                    samples.add_ours(store.name, UNCHANGED, tool, again, ours.cost(again))
        target = await self._ground.target()
        async with ours.worker(self._ground.disk) as worker:
            answer, cost = await worker.ask_first(Restore(where=where, folder=str(target)))
            samples.add_ours(store.name, RESTORE, OURS, answer, cost)
        await self._check(target, f"what we read back ({store.name})")
        if (store.name, COLLECTED, OURS) not in samples.sizes:
            await self._collect(store, where)
        await removed(store.folder / OURS)
        return OURS

    async def _collect(self, store: Store, where: Where) -> None:
        """Collect; what is left must still be what was written."""
        target = await self._ground.target()
        async with ours.worker(self._ground.disk) as worker:
            answer = await worker.ask(Collect(where=where))
            self._samples.add_ours(store.name, COLLECTED, OURS, answer, ours.cost(answer))
            self._samples.sizes[store.name, COLLECTED, OURS] = store.stored_bytes(OURS)
            await worker.ask(Restore(where=where, folder=str(target)))
        await self._check(target, f"what we read back after a collection ({store.name})")

    async def _check(self, target: Path, what: str) -> None:
        must_equal(await asyncio.to_thread(facts, target), self._expected, what)
        await removed(target)


def _in_short(samples: Samples, store: Store, name: str) -> str:
    """Return what a tool's last round took."""
    took = {
        (step, tool): costs[-1].seconds
        for (where, step, tool), costs in samples.costs.items()
        if where == store.name
        and step != COLLECTED  # which is in the first round only
        and (tool == name or (name == OURS and tool.startswith(OURS)))
    }
    figures = ", ".join(f"{step} {seconds:.2f} s" for (step, _), seconds in took.items())
    return f"{name:9} {figures}, {samples.sizes[store.name, FIRST, name] / 1e6:.0f} MB"
