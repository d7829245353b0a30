"""A response whose body comes piece by piece, and ends with its connection (`studios logs -f`)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from common.http1.upstream import WRITE_BUFFER_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.tasks import TaskBag


class StreamedBody(asyncio.Protocol):
    """Writes `pieces` as they come and as the reader takes them; ends when either side does."""

    def __init__(self, pieces: AsyncIterator[bytes], tasks: TaskBag) -> None:
        self._pieces = pieces
        self._tasks = tasks
        self._writable = asyncio.Event()
        self._writable.set()
        self._task: asyncio.Task[None] | None = None

    def take_over(self, transport: asyncio.Transport, early: bytes) -> None:
        """Begin after the response head was written; what the client sends is dropped."""
        del early
        transport.set_protocol(self)
        transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        transport.resume_reading()
        self._task = self._tasks.spawn(self._write(transport), name="stream")

    async def _write(self, transport: asyncio.Transport) -> None:
        try:
            async for piece in self._pieces:
                transport.write(piece)
                await self._writable.wait()
        finally:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._writable.set()
        if self._task is not None:
            self._task.cancel()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()
