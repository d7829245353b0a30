"""Our side: workers, asked from here."""

from __future__ import annotations

import asyncio
import sys
from contextlib import asynccontextmanager, suppress
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from bench.checkpoints import bucket
from bench.checkpoints.costs import Cost
from bench.checkpoints.messages import Answer, Create, Where
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from bench.checkpoints.messages import Request
    from bench.checkpoints.tools import Store

_ANSWER_SECONDS_MAX = 900.0
_END_SECONDS_MAX = 10.0
_TAIL_BYTES = 3000
_BILLION = 1_000_000_000


class Worker:
    """A process that has the library."""

    def __init__(self, process: asyncio.subprocess.Process, log: Path, begun_ns: int) -> None:
        self._process = process
        self._log = log
        self._begun_ns = begun_ns

    async def ask(self, request: Request) -> Answer:
        """Have something done. Raises BenchError, with the process's last words."""
        to, answers = self._process.stdin, self._process.stdout
        assert to is not None
        assert answers is not None
        line = b""
        with suppress(ConnectionError, TimeoutError):
            to.write(msgspec.json.encode(request) + b"\n")
            async with asyncio.timeout(_ANSWER_SECONDS_MAX):
                line = await answers.readline()
        if not line:
            words = self._log.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
            raise BenchError(f"{type(request).__name__} failed: {words}")
        return msgspec.json.decode(line, type=Answer)

    async def ask_first(self, request: Request) -> tuple[Answer, Cost]:
        """Have the first thing done; what it cost includes the process's start."""
        answer = await self.ask(request)
        seconds = (monotonic_ns() - self._begun_ns) / _BILLION
        return answer, Cost(seconds, answer.process_cpu_seconds)

    async def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_SECONDS_MAX):
                await self._process.wait()
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()


@asynccontextmanager
async def worker(scratch: Path) -> AsyncIterator[Worker]:
    """Run a worker while inside; what it says to standard error is in `scratch/worker.log`."""
    log = scratch / "worker.log"
    begun_ns = monotonic_ns()
    with log.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", sys.executable, "-m", "bench.checkpoints.worker"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
        )
    one = Worker(process, log, begun_ns)
    try:
        yield one
    finally:
        await asyncio.shield(one.end())


def cost(answer: Answer) -> Cost:
    """Return what a request cost, without the process's start."""
    return Cost(answer.seconds, answer.cpu_seconds)


def where(store: Store, repository: str) -> Where:
    """Return a repository's address."""
    if store.endpoint:
        return Where(url=f"s3://{bucket.NAME}/{store.path}{repository}", endpoint=store.endpoint)
    return Where(url=str(store.folder / repository))


async def create(store: Store, repository: str, scratch: Path) -> Where:
    """Lay down an empty repository; return its address."""
    if not store.endpoint:
        (store.folder / repository).mkdir()
    async with worker(scratch) as one:
        await one.ask(Create(where=where(store, repository)))
    return where(store, repository)
