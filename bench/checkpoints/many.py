"""200 000 files, of which 10 MB change between two writes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from bench.checkpoints import bucket, ours
from bench.checkpoints.changes import change
from bench.checkpoints.data import MANY
from bench.checkpoints.facts import facts, must_equal
from bench.checkpoints.messages import Restore, Write
from bench.checkpoints.samples import (
    CHANGED,
    FOLDER,
    MANY_FIRST,
    OURS,
    OURS_LISTED,
    OURS_SCANNED,
    S3,
)
from bench.checkpoints.tools import Borg, Restic, Store
from bench.checkpoints.trees import rest, settled
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.checkpoints.costs import Cost
    from bench.checkpoints.messages import Where
    from bench.checkpoints.ours import Worker
    from bench.checkpoints.samples import Samples
    from bench.checkpoints.tools import Tool
    from bench.checkpoints.trees import Ground

_REPOSITORIES = {OURS_LISTED: "listed", OURS_SCANNED: "scanned"}


async def measure(
    ground: Ground, samples: Samples, rounds: int, say: Callable[[str], None]
) -> None:
    """Write everything once, then what changes each round, with another tool first each time."""
    say("writing 200 000 files")
    source = await ground.make(MANY)
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(bucket.serving(ground.disk / "s3"))
        folder = Store(FOLDER, ground.disk / "repositories")
        folder.folder.mkdir()
        s3 = Store(S3, ground.disk / "s3" / bucket.NAME, endpoint)
        turns: list[_Ours | _Peer] = [
            _Peer(peer, source, samples)
            for peer in (
                Restic(folder, ground.disk),
                Borg(folder, ground.disk),
                Restic(s3, ground.disk),
            )
        ]
        for store in (folder, s3):
            for name, repository in _REPOSITORIES.items():
                where = await ours.create(store, repository, ground.disk)
                worker = await stack.enter_async_context(ours.worker(ground.disk))
                turns.append(_Ours(store, name, worker, where, source, samples))
        for turn in turns:
            await settled()
            cost = await turn.first()
            say(f"{MANY_FIRST}  {turn.store.name:6}  {turn.name:24} {cost.seconds:.1f} s")
        for number in range(rounds):
            touched = await asyncio.to_thread(change, source, number)
            await rest()
            first = number % len(turns)
            for turn in (*turns[first:], *turns[:first]):
                await settled()
                cost = await turn.write(touched)
                who = f"{turn.store.name:6}  {turn.name:24}"
                say(f"round {number + 1}/{rounds}  {who} {cost.seconds:.2f} s")
            if len({turn.root for turn in turns if isinstance(turn, _Ours)}) != 1:
                raise BenchError("told what changed, we wrote something else than looking for it")
    await _check(ground, ours.where(folder, _REPOSITORIES[OURS_LISTED]), source)


class _Peer:
    def __init__(self, tool: Tool, source: Path, samples: Samples) -> None:
        self.store = tool.store
        self.name = tool.name
        self._tool = tool
        self._source = source
        self._samples = samples

    async def first(self) -> Cost:
        await self._tool.create()
        await settled()
        return await self._write(MANY_FIRST)

    async def write(self, _touched: tuple[bytes, ...]) -> Cost:
        return await self._write(CHANGED)

    async def _write(self, step: str) -> Cost:
        cost = await self._tool.write(self._source)
        self._samples.add(self.store.name, step, self.name, cost)
        return cost


class _Ours:
    """A writer that lives through all rounds, as an agent's does."""

    def __init__(
        self, store: Store, name: str, worker: Worker, where: Where, source: Path, samples: Samples
    ) -> None:
        self.store = store
        self.name = name
        self.root = ""
        self._worker = worker
        self._where = where
        self._folder = str(source)
        self._samples = samples

    async def first(self) -> Cost:
        """Write all. The process has begun before, but has nothing open yet."""
        return await self._write(MANY_FIRST, OURS, None)

    async def write(self, touched: tuple[bytes, ...]) -> Cost:
        changed = touched if self.name == OURS_LISTED else None
        return await self._write(CHANGED, self.name, changed)

    async def _write(self, step: str, tool: str, changed: tuple[bytes, ...] | None) -> Cost:
        answer = await self._worker.ask(
            Write(where=self._where, folder=self._folder, changed=changed)
        )
        cost = ours.cost(answer)
        self._samples.add_ours(self.store.name, step, tool, answer, cost)
        self.root = answer.root
        return cost


async def _check(ground: Ground, where: Where, source: Path) -> None:
    target = await ground.target()
    async with ours.worker(ground.disk) as worker:
        await worker.ask(Restore(where=where, folder=str(target)))
    found, expected = [await asyncio.to_thread(facts, folder) for folder in (target, source)]
    must_equal(found, expected, "what we read back of 200 000 files")
