"""Our side as a process of its own, so that its memory is nobody else's.

`python -m bench.checkpoints.worker` answers requests from its standard input until that ends. Like
an agent, it keeps a writer for as long as it lives.
"""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sys
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING, assert_never

import msgspec
import uvloop

from bench.checkpoints import bucket
from bench.checkpoints.gaps import watched
from bench.checkpoints.messages import (
    Answer,
    Collect,
    Create,
    ListAll,
    ListFolder,
    Open,
    Request,
    Restore,
    Where,
    Write,
)
from bench.processes import peak_bytes
from checkpoints.collecting.collector import collect_while_nobody_writes
from checkpoints.format.ids import CheckpointId
from checkpoints.reading.restore import restore
from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage, reliable
from checkpoints.storage.urls import Access, parse_location
from checkpoints.writing.sealing import seal
from checkpoints.writing.writer import Writer
from common import log
from common.clock import SystemClock

if TYPE_CHECKING:
    from checkpoints.format.record import Record
    from checkpoints.tree.tree import Tree

CHECKPOINT = CheckpointId("00000000000000c1")
_BILLION = 1_000_000_000
_DECODER: msgspec.json.Decoder[Request] = msgspec.json.Decoder(Request)


class Did(msgspec.Struct, frozen=True):
    """What came of a request."""

    entries: int = 0
    stored_bytes: int = 0
    root: str = ""


class Work:
    """Does what is asked, with what earlier requests have opened."""

    def __init__(self) -> None:
        self._repositories: dict[Where, Repository] = {}
        self._writers: dict[Where, Writer] = {}
        self._tree: Tree | None = None

    async def do(self, request: Request) -> Did:
        match request:
            case Create(where=where):
                await self._repository(where, create=True)
                return Did()
            case Write():
                return await self._write(request)
            case Restore(where=where, folder=folder):
                repository = await self._repository(where)
                record = await _newest(repository)
                return Did((await restore(repository, record, Path(folder))).entries)
            case Collect(where=where):
                await _collect(await self._repository(where))
                return Did()
            case Open(where=where, path=path):
                return await self._open(where, path)
            case ListAll():
                assert self._tree is not None
                return Did(await asyncio.to_thread(_count_all, self._tree))
            case ListFolder(path=path):
                assert self._tree is not None
                return Did(await asyncio.to_thread(_count_folder, self._tree, path))
            case _:
                assert_never(request)

    async def _repository(self, where: Where, *, create: bool = False) -> Repository:
        if where not in self._repositories:
            access = Access(bucket.CREDENTIALS, where.endpoint) if where.endpoint else None
            clock, rng = SystemClock(), random.Random(os.urandom(16))
            bare = await open_storage(parse_location(where.url), access)
            self._repositories[where] = await Repository.open(
                reliable(bare, clock=clock, rng=rng),
                create=create,
                single_writer=True,
                clock=clock,
                rng=rng,
            )
        return self._repositories[where]

    async def _write(self, request: Write) -> Did:
        repository = await self._repository(request.where)
        writer = self._writers.get(request.where)
        if writer is None:
            writer = await Writer.open(repository, CHECKPOINT, run_number=1)
            self._writers[request.where] = writer
        record = await writer.write(Path(request.folder), changes=request.changed)
        assert record.tree is not None
        return Did(record.tree.entries, record.added.stored_bytes, record.tree.root)

    async def _open(self, where: Where, path: bytes) -> Did:
        repository = await self._repository(where)
        record = await _newest(repository)
        tree = repository.tree(record, await repository.chunks(record))
        if await asyncio.to_thread(tree.lookup, path) is None:
            raise LookupError(path)
        self._tree = tree
        return Did(tree.root.entries)


async def _newest(repository: Repository) -> Record:
    records = await repository.records(CHECKPOINT)
    assert records.newest is not None
    return records.newest


async def _collect(repository: Repository) -> None:
    """Do what days of collections would, after nobody writes any more."""
    await seal(repository, CHECKPOINT, run_number=2)
    await collect_while_nobody_writes(repository)


def _count_all(tree: Tree) -> int:
    return sum(1 for _ in tree.walk())


def _count_folder(tree: Tree, path: bytes) -> int:
    return sum(1 for _ in tree.listing(path))


async def answer(work: Work, request: Request) -> Answer:
    """Do it, and measure."""
    before = _cpu_seconds()
    begun_ns = monotonic_ns()
    async with watched() as gaps:
        did = await work.do(request)
    return Answer(
        seconds=(monotonic_ns() - begun_ns) / _BILLION,
        cpu_seconds=_cpu_seconds() - before,
        process_cpu_seconds=_cpu_seconds(),
        peak_bytes=peak_bytes(os.getpid()),
        gap_seconds_p99=gaps.at(0.99),
        gap_seconds_max=gaps.most(),
        entries=did.entries,
        stored_bytes=did.stored_bytes,
        root=did.root,
    )


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def serve() -> None:
    """Answer until standard input ends."""
    loop = asyncio.get_running_loop()
    requests = asyncio.StreamReader(limit=1 << 24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(requests), sys.stdin)
    work = Work()
    while line := await requests.readline():
        done = await answer(work, _DECODER.decode(line))
        await asyncio.to_thread(_say, msgspec.json.encode(done))


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def main() -> None:
    log.configure(program="bench")
    uvloop.run(serve())


if __name__ == "__main__":
    main()
