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
    RESTIC,
    S3,
)
from bench.checkpoints.tools import Borg, Restic, Store
from bench.checkpoints.trees import copied, rest, settled
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from bench.checkpoints.ours import Worker
    from bench.checkpoints.samples import Samples
    from bench.checkpoints.tools import Tool
    from bench.checkpoints.trees import Ground

_LISTED, _SCANNED = "listed", "scanned"  # repositories
_NAMES = {_LISTED: OURS_LISTED, _SCANNED: OURS_SCANNED}


async def measure(
    ground: Ground, samples: Samples, rounds: int, say: Callable[[str], None]
) -> None:
    """Write everything once, then what changes each round, with another tool first each time."""
    say("writing 200 000 files")
    source = await ground.make(MANY)
    folder = Store(FOLDER, ground.disk / "repositories")
    folder.folder.mkdir()
    peers: list[Tool] = [Restic(folder, ground.disk), Borg(folder, ground.disk)]
    await _first(ground, source, folder, peers, samples, say)
    async with AsyncExitStack() as stack:
        endpoint = await stack.enter_async_context(bucket.serving(ground.disk / "s3"))
        s3 = Store(S3, ground.disk / "s3" / bucket.NAME, endpoint)
        for store, name in ((folder, _SCANNED), (s3, _LISTED), (s3, _SCANNED)):
            await copied(folder.folder / _LISTED, store.folder / name)
        await copied(folder.folder / RESTIC, s3.folder / RESTIC)
        peers.append(Restic(s3, ground.disk))
        turns: list[_Peer | _Ours] = [_Peer(peer, source, samples) for peer in peers]
        for store in (folder, s3):
            for repository in (_LISTED, _SCANNED):
                worker = await stack.enter_async_context(ours.worker(ground.disk))
                one = _Ours(worker, store, repository, source, samples)
                await one.begin()
                turns.append(one)
        for number in range(rounds):
            touched = await asyncio.to_thread(change, source, number)
            await rest()
            first = number % len(turns)
            for turn in (*turns[first:], *turns[:first]):
                await settled()
                seconds = await turn.write(touched)
                who = f"{turn.store.name:6}  {turn.name:24}"
                say(f"round {number + 1}/{rounds}  {who} {seconds:.2f} s")
            if len({turn.root for turn in turns if isinstance(turn, _Ours)}) != 1:
                raise BenchError("told what changed, we wrote something else than looking for it")
    await _check(ground, folder, source)


async def _first(
    ground: Ground,
    source: Path,
    store: Store,
    peers: list[Tool],
    samples: Samples,
    say: Callable[[str], None],
) -> None:
    where = await ours.create(store, _LISTED, ground.disk)
    await settled()
    async with ours.worker(ground.disk) as worker:
        answer, cost = await worker.ask_first(Write(where=where, folder=str(source)))
    samples.add_ours(store.name, MANY_FIRST, OURS, answer, cost)
    say(f"{MANY_FIRST}: ours {cost.seconds:.1f} s")
    for peer in peers:
        await peer.create()
        await settled()
        cost = await peer.write(source)
        samples.add(store.name, MANY_FIRST, peer.name, cost)
        say(f"{MANY_FIRST}: {peer.name} {cost.seconds:.1f} s")


class _Peer:
    def __init__(self, tool: Tool, source: Path, samples: Samples) -> None:
        self.store = tool.store
        self.name = tool.name
        self._tool = tool
        self._source = source
        self._samples = samples

    async def write(self, _touched: tuple[bytes, ...]) -> float:
        cost = await self._tool.write(self._source)
        self._samples.add(self.store.name, CHANGED, self.name, cost)
        return cost.seconds


class _Ours:
    """A writer that lives through all rounds, as an agent's does."""

    def __init__(
        self, worker: Worker, store: Store, repository: str, source: Path, samples: Samples
    ) -> None:
        self.store = store
        self.name = _NAMES[repository]
        self.root = ""
        self._is_listed = repository == _LISTED
        self._worker = worker
        self._where = ours.where(store, repository)
        self._folder = str(source)
        self._samples = samples

    async def begin(self) -> None:
        """Have the worker read what the first write has left; then its caches are warm."""
        await self._worker.ask(Write(where=self._where, folder=self._folder))

    async def write(self, touched: tuple[bytes, ...]) -> float:
        changed = touched if self._is_listed else None
        answer = await self._worker.ask(
            Write(where=self._where, folder=self._folder, changed=changed)
        )
        self._samples.add_ours(self.store.name, CHANGED, self.name, answer, ours.cost(answer))
        self.root = answer.root
        return answer.seconds


async def _check(ground: Ground, store: Store, source: Path) -> None:
    target = await ground.target()
    async with ours.worker(ground.disk) as worker:
        await worker.ask(Restore(where=ours.where(store, _LISTED), folder=str(target)))
    found, expected = [await asyncio.to_thread(facts, folder) for folder in (target, source)]
    must_equal(found, expected, "what we read back of 200 000 files")
