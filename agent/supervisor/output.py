"""What the tool prints: to the log on disk, to the ring of last lines, to whoever follows.

One pipe serves all lives of the tool, because what a life started (a job left in a terminal) may
outlive it and would die of SIGPIPE if its pipe were closed. The agent reads whenever there is
something to read and waits for nobody: a slow follower loses output, and is told how much.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from typing import TYPE_CHECKING

from agent.supervisor.lines import LastLines
from agent.supervisor.tool_log import ToolLog, read_tail
from common.messages import MESSAGE_LINES_MAX

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

PIPE_BYTES = 256 * 1024  # bursts fit while the agent is busy elsewhere
READ_BYTES = 64 * 1024  # per turn of the loop: a flood doesn't starve the gateway
FOLLOWER_BYTES_MAX = 1024 * 1024
FOLLOWERS_MAX = 16
LINE_COUNT_MAX = 10_000


class TooManyFollowersError(Exception):
    """FOLLOWERS_MAX people read along already."""


class _Follower:
    """The output one reader has not taken yet, bounded."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._skipped = 0
        self._wake = asyncio.Event()
        self._closed = False

    def put(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        while self._size > FOLLOWER_BYTES_MAX:
            oldest = self._chunks.popleft()
            self._size -= len(oldest)
            self._skipped += len(oldest)
        self._wake.set()

    def close(self) -> None:
        self._closed = True
        self._wake.set()

    async def take(self) -> bytes:
        """Return everything there is, waiting for something; empty bytes at the end."""
        while not self._chunks and not self._skipped and not self._closed:
            self._wake.clear()
            await self._wake.wait()
        notice = f"\n[{self._skipped} bytes skipped: this reader was too slow]\n".encode()
        data = b"".join([notice if self._skipped else b"", *self._chunks])
        self._chunks.clear()
        self._size = self._skipped = 0
        return data


class ToolOutput:
    """Collects the tool's output; `pipe` is what the tool's standard output and error become."""

    def __init__(self, path: Path) -> None:
        """Open the log at `path` and start to read; needs a running loop."""
        self._log = ToolLog(path)
        self._last = LastLines(MESSAGE_LINES_MAX)
        self._followers: set[_Follower] = set()
        self._read_fd, self.pipe = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        fcntl.fcntl(self._read_fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._read_fd, self._read)

    def _read(self) -> bool:
        """Take one piece; False when there is none."""
        try:
            data = os.read(self._read_fd, READ_BYTES)
        except BlockingIOError:
            return False
        self.feed(data)
        return True

    def feed(self, data: bytes) -> None:
        self._log.write(data)
        self._last.feed(data)
        for follower in self._followers:
            follower.put(data)

    def drain(self) -> None:
        """Take what is in the pipe now: a tool that has ended has written its last words."""
        for _ in range(2 * PIPE_BYTES // READ_BYTES):  # orphans may write for ever
            if not self._read():
                return

    def last_lines(self) -> tuple[str, ...]:
        return self._last.lines()

    async def tail(self, lines: int) -> bytes:
        """Return the newest lines of the log, as bytes."""
        return await asyncio.to_thread(read_tail, self._log.snapshot(), min(lines, LINE_COUNT_MAX))

    def follow(self, lines: int) -> AsyncIterator[bytes]:
        """Yield the newest `lines` lines, then what is printed from now on, without a gap.

        Close the iterator when its reader is gone. Raises TooManyFollowersError at once.
        """
        if len(self._followers) >= FOLLOWERS_MAX:
            raise TooManyFollowersError
        return self._follow(lines)

    async def _follow(self, lines: int) -> AsyncIterator[bytes]:
        follower = _Follower()
        self._followers.add(follower)
        snapshot = self._log.snapshot()  # same instant: nothing twice, nothing missing
        try:
            yield await asyncio.to_thread(read_tail, snapshot, min(lines, LINE_COUNT_MAX))
            while data := await follower.take():
                yield data
        finally:
            self._followers.discard(follower)

    def close(self) -> None:
        """Stop reading; followers get what is left and then the end."""
        self.drain()
        self._loop.remove_reader(self._read_fd)
        os.close(self._read_fd)
        os.close(self.pipe)
        for follower in self._followers:
            follower.close()
        self._log.close()
