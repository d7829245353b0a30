"""What the agent says to a process it started around a session, and hears from it.

The other end is `starter`, in the session's first process or in a helper; `orders` has the words.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from agent.parts import CannotStartError
from agent.root.orders import Forward, SignalAll, Start, frame

if TYPE_CHECKING:
    import subprocess  # noqa: TID251 - see launching
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from agent.root.orders import Order

READY_SECONDS_MAX = 20.0  # takes 0.05 s; a mount that hangs is told to the user
_EVENT_BYTES_MAX = 4096
_ENDED_FIELDS = 2


class SessionFailedError(CannotStartError):
    """The session's root can't be made or entered, or it ended. The text is a sentence."""


class StartedProgram:
    """A program in the session. `pid` is its number there."""

    def __init__(self, pid: int, ended: asyncio.Future[int]) -> None:
        self.pid = pid
        self._ended = ended

    async def wait(self) -> int:
        """Return its exit code, negative for a signal.

        Raise SessionFailedError if the session ended before it could be known.
        """
        return await asyncio.shield(self._ended)


class Conversation:
    """One process that starts programs in the session, and what it says about them."""

    def __init__(self, process: subprocess.Popen[bytes], *, orders_fd: int, events_fd: int) -> None:
        """Talk with `process`; both descriptors are its own from now on."""
        self._process = process
        self._orders = orders_fd
        self._events = events_fd
        self.pid = self._process.pid
        self._pidfd = os.pidfd_open(self.pid)
        self._text = b""
        self._failure = "the session has ended"
        loop = asyncio.get_running_loop()
        self._ready: asyncio.Future[None] = loop.create_future()
        self._over: asyncio.Future[None] = loop.create_future()
        self._empty = asyncio.Event()
        self._starting: list[asyncio.Future[StartedProgram]] = []
        self._running: dict[int, asyncio.Future[int]] = {}
        os.set_blocking(self._events, False)
        os.set_blocking(self._orders, False)
        loop.add_reader(self._events, self._read)
        loop.add_reader(self._pidfd, self._reap)

    # ── What the agent does ──────────────────────────────────────────────────

    async def ready(self) -> None:
        """Return once it is in the session, confined; raise SessionFailedError if it can't be."""
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                await asyncio.shield(self._ready)
        except TimeoutError:
            raise SessionFailedError(
                f"the session's root was not ready within {READY_SECONDS_MAX:.0f} s"
            ) from None

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], working_directory: str
    ) -> StartedProgram:
        """Start a program; one that doesn't exist prints a line and ends with 127."""
        starting: asyncio.Future[StartedProgram] = asyncio.get_running_loop().create_future()
        order = Start(
            arguments=tuple(arguments),
            environment=tuple(environment.items()),
            working_directory=working_directory,
        )
        self._order(order)
        self._starting.append(starting)
        return await starting

    def send_signal(self, pid: int, number: signal.Signals) -> None:
        """Signal the process group of a program that was started, if it still lives."""
        with contextlib.suppress(SessionFailedError):
            self._order(Forward(pid=pid, signal=int(number)))

    def signal_all(self, orders: Iterable[SignalAll]) -> asyncio.Event:
        """Signal the processes but this one; the event is set once there is no other."""
        if self._empty.is_set():
            self._empty = asyncio.Event()  # else somebody is waiting for the one there is
        with contextlib.suppress(SessionFailedError):
            for order in orders:
                self._order(order)
        if self._over.done():
            self._empty.set()
        return self._empty

    def kill(self) -> None:
        """End the process at once; with the first one, everything in the session ends."""
        if not self._over.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    async def wait(self) -> None:
        """Return once it has ended; with the first one, everything in the session has."""
        await asyncio.shield(self._over)

    @contextlib.contextmanager
    def pidfd(self) -> Iterator[int]:
        """Give a descriptor of the process, by which its namespaces can be entered."""
        if self._over.done():
            raise SessionFailedError(self._failure)
        fd = os.dup(self._pidfd)
        try:
            yield fd
        finally:
            os.close(fd)

    def _order(self, order: Order) -> None:
        if self._over.done():
            raise SessionFailedError(self._failure)
        try:
            data = frame(order)
            if os.write(self._orders, data) != len(data):
                raise SessionFailedError("the session doesn't take orders")
        except (BlockingIOError, BrokenPipeError):
            raise SessionFailedError("the session doesn't take orders") from None
        except ValueError as error:
            raise SessionFailedError(str(error)) from None

    # ── What it hears ────────────────────────────────────────────────────────

    def _read(self) -> bool:
        """Take what is there; False if there is nothing, now or for ever."""
        try:
            data = os.read(self._events, _EVENT_BYTES_MAX)
        except BlockingIOError:
            return False
        if not data:
            asyncio.get_running_loop().remove_reader(self._events)
            return False
        *lines, self._text = (self._text + data)[-2 * _EVENT_BYTES_MAX :].split(b"\n")
        for line in lines:
            self._hear(line.decode(errors="replace"))
        return True

    def _hear(self, event: str) -> None:
        kind, _, rest = event.partition(" ")
        if kind == "ready" and not self._ready.done():
            self._ready.set_result(None)
        elif kind == "empty":
            self._empty.set()
        elif kind == "failed":
            self._failure = f"the session can't be made or entered: {rest}"
        elif kind == "refused" and self._starting:
            _fail(self._starting.pop(0), f"a program can't be started in the session: {rest}")
        elif kind == "started" and self._starting and rest.isdecimal():
            ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            self._running[int(rest)] = ended
            starting = self._starting.pop(0)
            if not starting.done():  # whoever asked may have been cancelled
                starting.set_result(StartedProgram(int(rest), ended))
        elif kind == "ended":
            self._program_ended(rest.split())

    def _program_ended(self, fields: list[str]) -> None:
        if len(fields) != _ENDED_FIELDS or not all(field.isdecimal() for field in fields):
            return
        ended = self._running.pop(int(fields[0]), None)
        if ended is not None and not ended.done():
            ended.set_result(os.waitstatus_to_exitcode(int(fields[1])))

    def _reap(self) -> None:
        """The process has ended. Take what it still said, then tell all who wait."""
        self._process.wait()
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._pidfd)
        while self._read():
            pass
        loop.remove_reader(self._events)
        for fd in (self._events, self._orders, self._pidfd):
            os.close(fd)
        self._over.set_result(None)
        self._empty.set()
        _fail(self._ready, self._failure)
        for starting in self._starting:
            _fail(starting, self._failure)
        for running in self._running.values():
            _fail(running, self._failure)


def _fail(future: asyncio.Future[Any], sentence: str) -> None:
    if not future.done():
        future.set_exception(SessionFailedError(sentence))
        future.exception()  # it is nobody's fault if nobody asks
