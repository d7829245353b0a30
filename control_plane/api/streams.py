"""Answers without an end: event streams, the edges' feed, long polls.

Three things would go wrong if handlers did it by themselves. A stream that is silent is cut by
middleboxes: every stream has a heartbeat. A browser that is gone is noticed only by writing:
the heartbeat does that too. And a server that stops would wait for them: `close` ends them all.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from common.clock import Clock

_log = structlog.get_logger()

OPEN_MAX = 900
"""Streams and long polls at a time; each holds one of the 1024 connections that an edge keeps to
us, and what is left is for calls that end. Far above one machine's sessions."""


class StreamIsOverError(Exception):
    """Raised by a stream's beat when its reader may read no more."""


class Streams:
    """All open streams of one server."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: set[asyncio.Timeout] = set()
        self._closed = False

    @property
    def open(self) -> int:
        """How many there are."""
        return len(self._open)

    @property
    def is_full(self) -> bool:
        return len(self._open) >= OPEN_MAX

    @asynccontextmanager
    async def until_closed(self) -> AsyncIterator[None]:
        """Run the block until it ends by itself or the server stops; then leave it quietly."""
        scope = asyncio.timeout(0 if self._closed else None)
        try:
            async with scope:
                self._open.add(scope)
                yield
        except TimeoutError:
            if not scope.expired():
                raise
        finally:
            self._open.discard(scope)

    async def run(
        self,
        request: web.Request,
        content_type: str,
        write: Callable[[web.StreamResponse], Awaitable[None]],
        *,
        heartbeat: bytes,
        heartbeat_seconds: float,
        check: Callable[[], Awaitable[None]] | None = None,
    ) -> web.StreamResponse:
        """Answer `request` with what `write` writes, until the client is gone or the server stops.

        `write` returning ends the stream too, and so does StreamIsOverError from it or from
        `check`, which is called before each heartbeat. A bug in them can't become a status any
        more, the head is out: it is logged and the connection cut, so that the client sees a
        broken stream and not an ended one.
        """
        response = web.StreamResponse(
            headers={
                "Content-Type": content_type,
                "Cache-Control": "no-store",
                "X-Accel-Buffering": "no",  # nginx in front would hold events back
            }
        )
        await response.prepare(request)
        try:
            async with self.until_closed(), asyncio.TaskGroup() as group:
                beats = group.create_task(self._beat(response, heartbeat, heartbeat_seconds, check))
                await write(response)
                beats.cancel()
        except* (ConnectionError, StreamIsOverError):
            pass  # the client left, the usual end; or must
        except* Exception as errors:  # noqa: BLE001 - see the docstring
            _log.error("stream_failed", path=request.path, exc_info=errors)
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _beat(
        self,
        response: web.StreamResponse,
        heartbeat: bytes,
        interval_seconds: float,
        check: Callable[[], Awaitable[None]] | None,
    ) -> None:
        while True:
            await self._clock.sleep(interval_seconds)
            if check is not None:
                await check()
            await response.write(heartbeat)

    async def close(self) -> None:
        """End every stream; new ones end at once. Idempotent."""
        self._closed = True
        now = asyncio.get_running_loop().time()
        for scope in list(self._open):
            scope.reschedule(now)
