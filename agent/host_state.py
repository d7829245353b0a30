"""The folder that outlives the agent, and the lock that lets one agent at a time use it.

A second agent for the same session comes when the control plane starts a new run while the former
one is still ending: it waits for it. One that never ends is named to the user instead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from common.clock import Clock

LOCK_SECONDS_MAX = 130.0  # what a stop takes at most, with the default grace
LOCK_INTERVAL_SECONDS = 0.2
_MODE = 0o700

_log = structlog.get_logger()


class HostStateError(Exception):
    """The folder can't be used. The text is a sentence for the user."""


class HostState:
    """Names of what lies in the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lock = folder / "agent.lock"
        self.tool_log = folder / "tool.log"
        self.session_record = folder / "session.pid"
        """The session's first process while there is one: the engine sees it gone before it calls a
        run whose agent was killed over."""
        self.mounts = folder / "mounts"
        self.earlier_workspace = folder / "workspace"
        """Where version 0.1 kept a Studio's files."""


@contextlib.asynccontextmanager
async def held(
    folder: str, clock: Clock, *, unwanted: Callable[[], bool]
) -> AsyncIterator[HostState]:
    """Hold the session's folder for the length of the block, or raise HostStateError.

    It is not waited for any longer once `unwanted()`.

    The lock belongs to the process: the kernel gives it up however the agent ends, and nothing that
    the agent starts inherits it.
    """
    state = HostState(Path(folder))
    try:
        state.folder.mkdir(mode=_MODE, parents=True, exist_ok=True)
        fd = os.open(state.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, mode=0o600)
    except OSError as error:
        raise HostStateError(f"the session's folder can't be used: {error}") from None
    try:
        await _lock(fd, state.lock, clock, unwanted)
        with contextlib.suppress(OSError):  # a full disk: what comes next has the words for that
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield state
    finally:
        os.close(fd)


async def _lock(fd: int, path: Path, clock: Clock, unwanted: Callable[[], bool]) -> None:
    end = clock.monotonic() + LOCK_SECONDS_MAX
    waiting = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", errors="replace").strip()
        else:
            return
        if clock.monotonic() >= end or unwanted():
            raise HostStateError(
                f"another agent of this session (process {holder}) still runs on this host"
            )
        if not waiting:
            _log.warning("waiting_for_former_agent", pid=holder, lock=str(path))
        waiting = True
        await clock.sleep(LOCK_INTERVAL_SECONDS)
