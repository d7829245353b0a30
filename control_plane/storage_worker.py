"""What the processes have in common that work on a work directory: their ends of the pipes.

Once nobody writes to it any more such a process ends, in the midst of whatever it does: all that
the library does may end anywhere.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
from typing import TYPE_CHECKING, Protocol

import structlog

from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage, reliable
from checkpoints.storage.urls import Access, parse_location
from common import log
from common.clock import SystemClock
from common.session_spec import WorkDirectory
from common.wire import decode
from control_plane import storage_frames

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import msgspec

EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h
NICENESS = 5
"""Behind what people wait for at a keyboard, before what saves sessions in the background (10)."""

_log = structlog.get_logger()


class Teller(Protocol):
    """Sends to the program that started this."""

    async def tell(self, value: msgspec.Struct) -> None: ...

    async def data(self, piece: bytes | memoryview) -> None: ...


class Pipes:
    """Both pipes, as the process has them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(1)  # one is told at a time

    async def next(self) -> bytes:
        """Return the next message."""
        return await self._heard.get()

    async def listen(self) -> None:
        """Take in messages; end the process once nobody is there any more."""
        while (frame := await storage_frames.read(self._reader)) is not None:
            await self._heard.put(frame.body)
        os._exit(0)

    async def tell(self, value: msgspec.Struct) -> None:
        self._writer.write(storage_frames.message(value))
        await self._writer.drain()

    async def data(self, piece: bytes | memoryview) -> None:
        self._writer.write(storage_frames.data(piece))
        await self._writer.drain()


def run(program: str, serve: Callable[[Pipes, Repository | Exception], Awaitable[None]]) -> None:
    """Open the work directory that is named first, have it served, and end. Never returns."""
    os.nice(NICENESS)
    log.configure(program=program, level="warning")
    code = EXIT_BUG
    try:
        asyncio.run(_run(serve))
        code = 0
    except BaseException:  # noqa: BLE001 - and then it ends
        _log.exception("storage_process_failed")
    finally:
        sys.stderr.flush()
        os._exit(code)  # threads that still read for nobody are not waited for


async def _run(serve: Callable[[Pipes, Repository | Exception], Awaitable[None]]) -> None:
    pipes = await _pipes()
    async with asyncio.TaskGroup() as group:
        listening = group.create_task(pipes.listen())
        where = decode(await pipes.next(), WorkDirectory)
        try:
            opened: Repository | Exception = await open_repository(where)
        except Exception as error:  # noqa: BLE001 - whoever serves knows which are expected
            opened = error
        await serve(pipes, opened)
        listening.cancel()


async def open_repository(where: WorkDirectory) -> Repository:
    """Open what is there. Raises what `open_storage` and `Repository.open` raise."""
    access = Access(
        credentials=where.credentials,
        endpoint=where.endpoint,
        region=where.region,
        account=where.account,
    )
    clock, rng = SystemClock(), random.Random(os.urandom(16))
    bare = await open_storage(parse_location(where.url), access)
    return await Repository.open(reliable(bare, clock=clock, rng=rng), clock=clock, rng=rng)


async def _pipes() -> Pipes:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    transport, protocol = await loop.connect_write_pipe(
        lambda: asyncio.streams.FlowControlMixin(), sys.stdout
    )
    return Pipes(reader, asyncio.StreamWriter(transport, protocol, reader, loop))
