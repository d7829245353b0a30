"""One process that works for the agent, from its start to its end.

It is of the agent's mount namespace and cgroup, and a session and process group of its own. Its
parent-death signal is tied to the thread that starts it: that must be the main one, which lives as
long as the agent. Started with the standard library's Popen and waited for by pidfd, for the same
reason as in `root.launching`. Nothing secret is in its arguments: everybody may read those.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess  # noqa: TID251 - see the module
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from agent.checkpointing import orders
from agent.checkpointing.orders import Begin, Cancel, RestoreUnderway, SaveUnderway
from agent.checkpointing.said import Said
from agent.checkpointing.streams import Stream
from common.tasks import TaskBag
from common.wire import MalformedMessageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from agent.checkpointing.orders import Answer, Order, Underway
    from common.session_spec import WorkDirectory

CODE = Path(__file__).resolve().parents[2]
"""Where this package is imported from."""
CANCEL_SECONDS_MAX = 5.0
"""For what is cancelled to end in order: threads finish their chunk, requests are dropped."""
END_SECONDS_MAX = 5.0
"""For an idle process to end by itself, and for a killed one to be gone: some milliseconds, but for
one that a hung file system holds."""
_BOOT = """\
import sys
sys.path.insert(0, sys.argv[1])
from agent.checkpointing.worker.service import main
main(int(sys.argv[2]))
"""

_log = structlog.get_logger()


class Child:
    """See the module. `start` makes one."""

    def __init__(
        self, process: subprocess.Popen[bytes], said: Said, *, cancel_seconds_max: float
    ) -> None:
        self.pid = process.pid
        self._process = process
        self._said = said
        self._cancel_seconds_max = cancel_seconds_max
        self._stream: Stream | None = None
        self._is_sending = False
        self._tasks = TaskBag("checkpoint-process")
        loop = asyncio.get_running_loop()
        self._over: asyncio.Future[None] = loop.create_future()
        self._pidfd = os.pidfd_open(process.pid)
        loop.add_reader(self._pidfd, self._reap)

    @classmethod
    async def start(
        cls, work_directory: WorkDirectory, *, cancel_seconds_max: float = CANCEL_SECONDS_MAX
    ) -> Child:
        """Start one. Takes some milliseconds of the loop; OSError if the machine has no room."""
        assert threading.current_thread() is threading.main_thread(), "see the module"
        ours, theirs = socket.socketpair()
        said = Said()
        try:
            ours.setblocking(False)
            process = _spawn(theirs.fileno(), said.pipe)
        except BaseException:
            ours.close()
            said.close()
            raise
        finally:
            theirs.close()
        said.close_pipe()
        child = cls(process, said, cancel_seconds_max=cancel_seconds_max)
        try:
            child._stream = await Stream.of(ours)
            child._stream.say(Begin(work_directory=work_directory))
        except BaseException:
            ours.close()
            await child.end()
            raise
        return child

    @property
    def is_alive(self) -> bool:
        """Whether it runs at this instant: the loop may not have heard of its end yet."""
        if self._over.done():
            return False
        options = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PIDFD, self._pidfd, options) is None

    async def ask(
        self,
        order: Order,
        underway: Callable[[Underway], None] = lambda _: None,
        *,
        changes: Sequence[bytes] = (),
    ) -> Answer | None:
        """Have an order carried out; None if the process has ended instead, see `why_ended`.

        Cancelled, it has the process give it up, and kills it if that takes too long.
        """
        work = self._tasks.spawn(self._exchange(order, underway, changes), name="exchange")
        try:
            return await asyncio.shield(work)
        except BaseException:
            await self._give_up(work)
            raise

    async def end(self) -> None:
        """End it, by force if it takes too long. Idempotent."""
        try:
            if self._stream is not None:
                await self._stream.close()  # its sign to end
                await asyncio.wait({self._over}, timeout=END_SECONDS_MAX)
        finally:
            await self._kill_and_wait()
            await self._tasks.close()

    def kill(self) -> None:
        """End it at once."""
        if not self._over.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def why_ended(self) -> str:
        """Return the end of a sentence about a process that has ended."""
        code = self._process.returncode
        if code == -signal.SIGKILL:
            return "it was killed, as happens when the machine is out of memory"
        if code is not None and code < 0:
            return f"it was ended by the signal {signal.Signals(-code).name}"
        words = self._said.last_line
        return f"it ended with code {code}{f': {words}' if words else ''}"

    async def _exchange(
        self, order: Order, underway: Callable[[Underway], None], changes: Sequence[bytes]
    ) -> Answer | None:
        assert self._stream is not None
        with contextlib.suppress(OSError):  # it has ended: `read` tells
            self._is_sending = True
            await self._stream.send(
                order,
                orders.appendix(changes),
                appendix_bytes=orders.appendix_bytes(changes) or 0,
            )
        self._is_sending = False
        try:
            while (message := await self._stream.read()) is not None:
                heard = orders.decode_heard(message.body)
                if not isinstance(heard, SaveUnderway | RestoreUnderway):
                    return heard
                underway(heard)
        except MalformedMessageError as error:
            _log.error("checkpoint_process_malformed", reason=str(error))
        await asyncio.wait({self._over}, timeout=END_SECONDS_MAX)
        await self._kill_and_wait()
        return None

    async def _give_up(self, work: asyncio.Task[Answer | None]) -> None:
        """Return once nothing of it goes on any more."""
        assert self._stream is not None
        try:
            if not work.done() and not self._is_sending:
                self._stream.say(Cancel())
                await asyncio.wait({work}, timeout=self._cancel_seconds_max)
        finally:
            if not work.done() or work.cancelled() or work.exception() is not None:
                _log.warning("checkpoint_process_killed", pid=self.pid)
                await self._kill_and_wait()

    async def _kill_and_wait(self) -> None:
        self.kill()
        await asyncio.wait({self._over}, timeout=END_SECONDS_MAX)
        if not self._over.done():
            _log.error("checkpoint_process_hangs", pid=self.pid)  # reaped whenever it ends

    def _reap(self) -> None:
        self._process.wait()
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._said.close()
        self._over.set_result(None)


def _spawn(socket_fd: int, output_fd: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-I", "-c", _BOOT, str(CODE), str(socket_fd)],
        pass_fds=(socket_fd,),
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=output_fd,
        stderr=output_fd,
        start_new_session=True,
    )
