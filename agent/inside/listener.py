"""The unix socket that the session sees, and what one connection may cost.

The loop accepts and decides; reading, sending and closing happen in threads, see `common.threads`.
Nothing here grows with what the session does: `CONNECTIONS_MAX` at a time, a head of bounded length
in `PARTS_MAX` parts, `CALL_SECONDS_MAX` for either direction, and `PAUSE_SECONDS` between two
connections. Who comes when all is in use waits in the kernel's short queue.

**Why not in the event loop.** Whoever sends bytes on a unix socket may send descriptors with them.
The receiver that doesn't ask for them closes them, and where that was the last use, it does what
closing takes: for a TCP socket with SO_LINGER and unsent data, wait for as long as the sender chose
(seen: `recv` took the 5 seconds that a test asked for). Closing the connection unread does the
same. In the loop that would stop tunnel and reports. Linux 6.16 can refuse descriptors
(SO_PASSRIGHTS), what hosts run today mostly can't. An agent that exits is not held up either: the
kernel lingers for no process that does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING

import structlog

from agent.inside import exchange
from common.threads import begin

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from agent.inside.exchange import Answer, Request
    from common.clock import Clock

CONNECTIONS_MAX = 16
"""A person uses one. What is held costs the agent a thread, some 50 kB."""
PARTS_MAX = 16
"""Clients send a head at once. One that sends single bytes costs a wake-up of a thread for each."""
CALL_SECONDS_MAX = 10.0
PAUSE_SECONDS = 0.02
"""Between two connections: a flood of them takes a tenth of a core, and the loop has no more delay
than without one (measured on two cores, beside two clients that did nothing else)."""
OUT_OF_FILES_PAUSE_SECONDS = 1.0
CLOSE_SECONDS_MAX = 1.0
_BACKLOG = 64  # whoever comes to a full queue is told that nobody answers
_MODE = 0o666
"""For every user in the session. On the host, the folder keeps others away."""

_log = structlog.get_logger()


class Listener:
    """Answers each request with `answer`, which must not block and doesn't raise."""

    def __init__(
        self,
        path: Path,
        answer: Callable[[Request], Awaitable[Answer]],
        *,
        clock: Clock,
        call_seconds_max: float = CALL_SECONDS_MAX,
    ) -> None:
        """`path` lies in a folder that nobody else on the host can enter."""
        self._path = path
        self._answer = answer
        self._clock = clock
        self._call_seconds_max = call_seconds_max
        self._free = asyncio.Semaphore(CONNECTIONS_MAX)
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen, or raise OSError. What an earlier run left is replaced."""
        assert self._socket is None
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._bind(listening)
            listening.listen(_BACKLOG)
            listening.setblocking(False)
        except BaseException:
            listening.close()
            raise
        self._socket = listening

    def _bind(self, listening: socket.socket) -> None:
        """Bind by the folder's descriptor.

        An address has 108 bytes, the host's folder may be longer; and every client can read it.
        """
        folder = os.open(self._path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._path.unlink(missing_ok=True)
            listening.bind(f"/proc/self/fd/{folder}/{self._path.name}")
            self._path.chmod(_MODE)
        finally:
            os.close(folder)

    async def run(self) -> None:
        """Serve until cancelled."""
        assert self._socket is not None
        async with asyncio.TaskGroup() as group:
            while True:
                await self._free.acquire()
                connection = await self._accept(self._socket)
                group.create_task(self._serve(connection), name="inside/connection")
                await self._clock.sleep(PAUSE_SECONDS)

    async def _accept(self, listening: socket.socket) -> socket.socket:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, _ = await loop.sock_accept(listening)
            except OSError as error:  # no descriptors or memory left; or the client went away
                _log.warning("inside_not_accepted", error=str(error))
                await self._clock.sleep(OUT_OF_FILES_PAUSE_SECONDS)
            else:
                return connection

    async def _serve(self, connection: socket.socket) -> None:
        try:
            head = await begin(lambda: self._read_head(connection), name="inside-read")
            if not head:
                return
            request = exchange.parse(head)
            if isinstance(request, exchange.Request):
                reply = exchange.render(await self._answer(request))
            else:
                reply = exchange.render(request)
            await begin(lambda: self._send(connection, reply), name="inside-send")
        except OSError:  # it went away, or took too long
            return
        finally:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes a thread that still uses it
            closing = begin(lambda: _close(connection), name="inside-close")
            closing.add_done_callback(lambda _: self._free.release())

    async def close(self) -> None:
        """Listen no more. Idempotent."""
        if self._socket is None:
            return
        listening, self._socket = self._socket, None
        self._path.unlink(missing_ok=True)
        # closes those in its queue, with what they were sent
        closing = begin(lambda: _close(listening), name="inside-close")
        await asyncio.wait({closing}, timeout=CLOSE_SECONDS_MAX)

    # ── In threads ───────────────────────────────────────────────────────────

    def _read_head(self, connection: socket.socket) -> bytes:
        """Return the head and whatever came with it; empty if the client says nothing."""
        end = self._clock.monotonic() + self._call_seconds_max
        received = b""
        for _ in range(PARTS_MAX):
            self._limit(connection, end)
            part = connection.recv(exchange.HEAD_BYTES_MAX - len(received))
            received += part
            if not part or exchange.is_head_complete(received):
                break
        return received

    def _send(self, connection: socket.socket, data: bytes) -> None:
        self._limit(connection, self._clock.monotonic() + self._call_seconds_max)
        connection.sendall(data)

    def _limit(self, connection: socket.socket, end: float) -> None:
        left = end - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        connection.settimeout(left)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed all the same
        connection.close()
