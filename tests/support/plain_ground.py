"""A ground of plain processes on this machine, for tests of what stands on one.

Nothing is confined. What its programs start is found again by a variable in their environment, see
`marked`. It keeps the promises of `agent.parts.Ground` (`tests/agent/test_ground.py` shows it) and
of `OwnGround`, except where a test wants one broken.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import subprocess
import termios
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from agent.parts import CannotStartError, GroundFailedError, GroundStatus
from common.http1.lane import TcpAddress
from tests.support.marked import Marked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from agent.checkpointing.captures import Commit
    from agent.host_state import HostState
    from agent.parts import OwnGround, Program, Use
    from common.clock import Clock
    from common.session_spec import SessionSettings, SessionSpec

KILL_SECONDS_MAX = 10.0
LOST = "The session's first process has ended: it was killed."
_POLITE = (signal.SIGTERM, signal.SIGHUP, signal.SIGCONT)
_POLL_SECONDS = 0.01
_LOOKS = 2  # a process in the middle of an exec shows no environment


class PlainProgram:
    """A child of this process, in a session and a process group of its own."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        entered: bool = False,
        terminal_fd: int | None = None,
        outlives_agent: bool = False,
    ) -> None:
        self._process = process
        self._outlives_agent = outlives_agent
        self._entered = entered
        self.pid = process.pid
        self.terminal_fd = terminal_fd
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[int] = self._loop.create_future()
        self.reaped = asyncio.Event()
        self._pidfd = os.pidfd_open(process.pid)
        self._loop.add_reader(self._pidfd, self._reap)

    def _reap(self) -> None:
        code = self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.reaped.set()
        if not self._ended.done():
            self._ended.set_result(code)

    @property
    def is_living(self) -> bool:
        """Whether it has not ended yet, whatever it shows of itself."""
        return self._process.poll() is None

    def lose(self) -> None:
        """Never tell how it ended: its ground did before. One that was entered has a helper."""
        if not self._entered and not self._ended.done():
            self._ended.set_exception(CannotStartError("the session has ended"))
            self._ended.exception()  # it is nobody's fault if nobody asks

    async def wait(self) -> int:
        return await asyncio.shield(self._ended)

    def send_signal(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    async def close(self) -> None:
        if not self._outlives_agent and not self.reaped.is_set():
            self._process.kill()
            await self.reaped.wait()


class PlainGround:
    """See the module. Tests set what is public; whoever makes one also calls `clean_up`."""

    def __init__(self, working_directory: str | None = None) -> None:
        """`working_directory` is made with it; `laid` takes it from the spec."""
        self.before: dict[str, Callable[[], Awaitable[None]]] = {}
        """What happens first in `make`, `leave` or `detach`: they hang in it, or fail with it."""
        self.stubborn = False
        """Nothing can be ended any more, not even by SIGKILL."""
        self.used: Use | None = None
        self.said = GroundStatus(root=None, volume=None, warnings=())
        self.grown = (0, 0)
        self.done: list[str] = []
        """What was asked of it and has happened, in this order."""
        self.committed: tuple[Commit, ...] = ()
        self.requests: list[datetime] = []
        """When somebody wanted its files saved."""
        self.graces: list[float] = []
        """What each `end_all` was given, seconds."""
        self._marked = Marked()
        self._programs: list[PlainProgram] = []
        self._working_directory = working_directory
        self._output_fd: int | None = None
        self._lost = asyncio.Event()

    # ── What tests do ────────────────────────────────────────────────────────

    def laid(
        self,
        spec: SessionSpec,
        host: HostState,
        *,
        given: tuple[tuple[str, str], ...],
        warnings: tuple[str, ...],
        settings: Callable[[], SessionSettings],
        clock: Clock,
        on_change: Callable[[], None],
    ) -> OwnGround:
        """Be the ground that a daemon gets; `PlainGround().laid` is a `LayGround`."""
        del host, given, settings, clock, on_change
        self._working_directory = spec.tool.working_directory
        self.said = GroundStatus(self.said.root, self.said.volume, (*warnings, *self.said.warnings))
        return self

    def lose(self) -> None:
        """End as a session does whose first process is killed."""
        self._output_fd = None
        for program in self._programs:
            program.lose()
        self._signal_all([signal.SIGKILL])
        self._lost.set()

    def living(self) -> list[int]:
        """Return the pids of all that runs on it.

        Its own programs are known, also in the middle of an exec, in which a process shows no
        environment. What they start is missed then: who waits for its end looks `_LOOKS` times.
        """
        return self._marked.living({program.pid for program in self._programs if program.is_living})

    async def clean_up(self) -> None:
        """End all, whatever the knobs say."""
        assert await self._ends_by([signal.SIGKILL], KILL_SECONDS_MAX)
        for program in self._programs:
            await program.reaped.wait()

    # ── What the agent asks: see `agent.parts` ───────────────────────────────

    async def make(self, *, output_fd: int) -> None:
        await self._happens("make")
        if self._working_directory is not None:
            os.makedirs(self._working_directory, exist_ok=True)
        self._output_fd = output_fd

    async def run(self) -> None:
        await self._lost.wait()
        raise GroundFailedError(LOST)

    async def leave(self) -> None:
        await self._happens("leave")
        self._output_fd = None
        await self._ends_by([signal.SIGKILL], KILL_SECONDS_MAX)

    def save_now(self, requested_at: datetime) -> None:
        self.requests.append(requested_at)

    async def save(self) -> None:
        await self._happens("save now")

    def commits(self) -> tuple[Commit, ...]:
        return self.committed

    async def save_last(self) -> None:
        await self._happens("save")

    async def detach(self) -> None:
        await self._happens("detach")

    def progress(self) -> str:
        return "its session is being made"

    def status(self) -> GroundStatus:
        return self.said

    def growths(self) -> tuple[int, int]:
        return self.grown

    def use(self) -> Use | None:
        return self.used

    def address(self, port: int) -> TcpAddress:
        return TcpAddress("127.0.0.1", port)

    async def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], working_directory: str
    ) -> PlainProgram:
        output_fd = self._made()
        streams = (subprocess.DEVNULL, output_fd, output_fd)
        process = self._spawn(arguments, environment, working_directory, streams)
        return self._known(PlainProgram(process))

    def send_signal(self, program: Program, number: signal.Signals) -> None:
        assert isinstance(program, PlainProgram)
        program.send_signal(number)

    async def end_all(self, grace_seconds: float) -> bool:
        self.done.append("end_all")
        self.graces.append(grace_seconds)
        if self.stubborn:
            return False
        if grace_seconds > 0 and await self._ends_by(_POLITE, grace_seconds):
            return True
        return await self._ends_by([signal.SIGKILL], KILL_SECONDS_MAX)

    async def enter(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        working_directory: str,
        *,
        streams: tuple[int, int, int] | None,
        terminal_size: tuple[int, int] = (24, 80),
        outlives_agent: bool = False,
    ) -> PlainProgram:
        self._made()
        if streams is not None:
            process = self._spawn(arguments, environment, working_directory, streams)
            return self._known(PlainProgram(process, entered=True, outlives_agent=outlives_agent))
        near, far = os.openpty()
        termios.tcsetwinsize(near, terminal_size)
        try:
            process = self._spawn(
                arguments, environment, working_directory, (far, far, far), first=_take_terminal
            )
        except BaseException:
            os.close(near)
            raise
        finally:
            os.close(far)
        return self._known(
            PlainProgram(process, entered=True, terminal_fd=near, outlives_agent=outlives_agent)
        )

    # ── How ──────────────────────────────────────────────────────────────────

    async def _happens(self, what: str) -> None:
        if what in self.before:
            await self.before[what]()
        self.done.append(what)

    def _made(self) -> int:
        if self._output_fd is None:
            raise CannotStartError("the session has not been made, or has ended")
        return self._output_fd

    def _spawn(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        working_directory: str,
        streams: tuple[int, int, int],
        *,
        first: Callable[[], None] | None = None,
    ) -> subprocess.Popen[bytes]:
        """Through `env`, which says that there is no such program, and ends with 127."""
        try:
            process = subprocess.Popen(
                ["/usr/bin/env", "--", *arguments],
                env={**environment, **self._marked.variable},
                cwd=working_directory,
                stdin=streams[0],
                stdout=streams[1],
                stderr=streams[2],
                start_new_session=True,
                preexec_fn=first,
            )
        except (OSError, ValueError) as error:
            raise CannotStartError(f"a program can't be started: {error}") from None
        return process

    def _known(self, program: PlainProgram) -> PlainProgram:
        self._programs.append(program)
        return program

    async def _ends_by(self, numbers: Iterable[signal.Signals], seconds: float) -> bool:
        """Signal all, and SIGKILL what comes later too; True once none is left."""
        end = time.monotonic() + seconds
        signals = tuple(numbers)
        self._signal_all(signals)
        looks = 0
        while looks < _LOOKS:
            looks = 0 if self.living() else looks + 1
            if time.monotonic() > end:
                return False
            if signal.SIGKILL in signals:
                self._signal_all(signals)
            await asyncio.sleep(_POLL_SECONDS)
        return True

    def _signal_all(self, numbers: Iterable[signal.Signals]) -> None:
        for pid in self.living():
            for number in numbers:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)


def _take_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@asynccontextmanager
async def plain_ground(working_directory: str, output_fd: int) -> AsyncIterator[PlainGround]:
    """Make one that has this folder, for the length of the block."""
    ground = PlainGround(working_directory)
    await ground.make(output_fd=output_fd)
    try:
        yield ground
    finally:
        await ground.clean_up()
