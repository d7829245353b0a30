"""One command, from its order to the end of its connection.

    ordering ──order──▶ starting ──▶ running ──ended──▶ finishing ──exit──▶ lingering ──▶ over
        │                   │           │                                       ▲
        └───────────────────┴───────────┴── client gone ──▶ hanging up ─────────┘

What the client says comes by plain calls (`received`) and is done at once; what takes time is in
`live`, which reads as the picture. While the client doesn't read, the program is held, and nobody
else waits.
"""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING, assert_never

import structlog
from wsproto.frame_protocol import CloseReason

from agent.exec import starting
from agent.exec.connection import ExecConnection, ViolationError
from agent.exec.streams import Sink, Source
from agent.limits import wait_event
from agent.parts import CannotStartError
from common.exec.messages import (
    Credit,
    Exit,
    Notice,
    Order,
    Resize,
    Signal,
    Started,
    Stderr,
    Stdin,
    StdinEnd,
    Stdout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from agent.exec.starting import Surroundings
    from agent.parts import EnteredProgram, Entrance
    from common.clock import Clock
    from common.exec.messages import FromClient

ORDER_SECONDS_MAX = 10.0
HANG_UP_SECONDS = 5.0
"""Between SIGHUP and SIGKILL when the client is gone: an editor saves what it can."""
KILL_SECONDS_MAX = 5.0  # what hangs in the kernel is left to the end of the session
LINGER_SECONDS_MAX = 60.0
"""For the client to read what the kernel has taken, and close: its reader may be slow."""
CREDIT_BYTES = 1024 * 1024
"""Of stdin under way or pending: 10 MB/s over a round trip of 100 ms; 32 MiB for all commands."""
_CREDIT_STEP_BYTES = CREDIT_BYTES // 4  # given back in parts: one message for many pieces

_log = structlog.get_logger()


class Execution:
    """See the module. Make it, let its `connection` take over, and run `live`."""

    def __init__(
        self, ground: Entrance, usual: Surroundings, *, used: Callable[[], None], clock: Clock
    ) -> None:
        """`used` is called whenever a person does something."""
        self.connection = ExecConnection(self)
        self._ground = ground
        self._usual = usual
        self._used = used
        self._clock = clock
        self._news = asyncio.Event()
        self._is_gone = False
        self._is_held = False
        self._order: Order | None = None
        self._program: EnteredProgram | None = None
        self._early: dict[type[FromClient], FromClient] = {}
        """What came before there was a program; of each kind the last one counts."""
        self._sink: Sink | None = None
        self._sources: list[Source] = []
        self._fds: list[int] = []
        self._credit_left = 0
        self._credit_due = 0

    def notify(self, sentence: str) -> None:
        """Tell the person something."""
        self.connection.say(Notice(sentence))

    # ── what takes time ──────────────────────────────────────────────────────

    async def live(self) -> None:
        """Do everything; cancelled, end the program at once."""
        try:
            if not await self._until(lambda: bool(self._order) or self._is_gone, ORDER_SECONDS_MAX):
                self.connection.refuse(CloseReason.POLICY_VIOLATION, "There was no order.")
            if self._order is not None:
                await self._carry_out(self._order)
                self.connection.close()
                await self._linger()
        finally:
            self.connection.abandon()

    async def _carry_out(self, order: Order) -> None:
        try:
            if order.detach:
                pid = await starting.start_detached(self._ground, order, self._usual)
                self.connection.say(Started(pid))
                return
            started = await starting.start(self._ground, order, self._usual)
        except CannotStartError as error:
            self.connection.say(Exit(failure=f"{error}"))
            return
        try:
            self._begin(started)
            await self._accompany(started.program)
        finally:
            self._program = None
            self._let_go()
            await started.program.close()

    async def _accompany(self, program: EnteredProgram) -> None:
        """Stay with a program until it has ended, and tell how; or until its client is gone."""
        async with asyncio.TaskGroup() as group:
            ending = group.create_task(_outcome(program), name="exec-ending")
            ending.add_done_callback(self._tell)
            await self._until(lambda: self._is_gone or ending.done())
            if not ending.done():
                await self._hang_up(program, ending)
        for source in self._sources:
            source.finish()
        await self._until(lambda: self._is_gone or all(s.is_over for s in self._sources))
        self.connection.say(ending.result())

    async def _hang_up(self, program: EnteredProgram, ending: asyncio.Task[Exit]) -> None:
        _log.info("exec_client_gone", pid=program.pid)
        if program.terminal_fd is None:
            self.flow()  # into nothing: it must not die of what it prints while it cleans up
        else:
            self._let_go()  # as a terminal is that was switched off
        program.send_signal(signal.SIGHUP)
        program.send_signal(signal.SIGCONT)
        if not await self._until(ending.done, HANG_UP_SECONDS):
            program.send_signal(signal.SIGKILL)
            await self._until(ending.done, KILL_SECONDS_MAX)
        await program.close()

    async def _linger(self) -> None:
        """Wait for the client to have read everything and close."""
        while not await self._until(lambda: self._is_gone, LINGER_SECONDS_MAX):
            if not self.connection.has_unwritten:
                return

    async def _until(self, condition: Callable[[], bool], seconds: float | None = None) -> bool:
        """Wait for `condition`, `seconds` at most; it is looked at with any news."""
        due = None if seconds is None else self._clock.monotonic() + seconds
        while not condition():
            self._news.clear()
            if due is None:
                await self._news.wait()
            elif not await wait_event(self._news, self._clock, due - self._clock.monotonic()):
                return condition()
        return True

    def _tell(self, _: object = None) -> None:
        self._news.set()

    # ── the program's streams ────────────────────────────────────────────────

    def _begin(self, started: starting.Started) -> None:
        self._program = started.program
        self._take_streams(started)
        self.connection.say(Started(started.program.pid))
        if self._sink is not None:
            self._credit_left = CREDIT_BYTES
            self.connection.say(Credit(CREDIT_BYTES))
        for message in self._early.values():
            self.received(message)
        if not self._is_held:
            self.flow()

    def _take_streams(self, started: starting.Started) -> None:
        connection, is_terminal = self.connection, started.is_terminal
        self._fds = [fd for fd in (started.output_fd, started.error_fd) if fd is not None]
        if started.input_fd is not None:
            self._sink = Sink(started.input_fd, self._stdin_taken, is_terminal=is_terminal)
        self._sources = [
            Source(
                started.output_fd,
                lambda data: connection.say(Stdout(data)),
                ended=self._tell,
                is_terminal=is_terminal,
            )
        ]
        if started.error_fd is not None:
            self._sources.append(
                Source(
                    started.error_fd,
                    lambda data: connection.say(Stderr(data)),
                    ended=self._tell,
                    is_terminal=False,
                )
            )

    def _stdin_taken(self, size_bytes: int) -> None:
        self._credit_due += size_bytes
        if self._credit_due >= _CREDIT_STEP_BYTES:
            self._credit_left += self._credit_due
            self.connection.say(Credit(self._credit_due))
            self._credit_due = 0

    def _let_go(self) -> None:
        """Close this side of all streams; on a terminal that hangs up. Idempotent."""
        for source in self._sources:
            source.close()
        if self._sink is not None:
            self._sink.close()
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)

    # ── what the client says and does ────────────────────────────────────────

    def received(self, message: FromClient) -> None:
        """See `Listener`."""
        match message:
            case Stdin(data):
                self._stdin(data)
            case StdinEnd() | Resize() | Signal() if self._program is None:
                self._early[type(message)] = message
            case StdinEnd():
                if self._sink is not None:
                    self._sink.end()
            case Resize(rows, columns):
                self._resize(rows, columns)
            case Signal(name):
                self._signal(name)
            case Order():
                if self._order is not None:
                    raise ViolationError(CloseReason.PROTOCOL_ERROR, "There was an order before.")
                self._order = message
                self._used()
                self._tell()
            case _:
                assert_never(message)

    def _stdin(self, data: bytes) -> None:
        if len(data) > self._credit_left:
            raise ViolationError(
                CloseReason.POLICY_VIOLATION, "There is no credit for so much stdin."
            )
        assert self._sink is not None
        self._credit_left -= len(data)
        self._used()
        self._sink.write(data)

    def _resize(self, rows: int, columns: int) -> None:
        assert self._program is not None
        terminal_fd = self._program.terminal_fd
        if terminal_fd is not None and terminal_fd in self._fds:
            starting.resize(terminal_fd, rows, columns)

    def _signal(self, name: str) -> None:
        assert self._program is not None
        self._program.send_signal(signal.Signals[name])

    def hold(self) -> None:
        """See `Listener`."""
        self._is_held = True
        for source in self._sources:
            source.hold()

    def flow(self) -> None:
        """See `Listener`."""
        self._is_held = False
        for source in self._sources:
            source.flow()

    def gone(self) -> None:
        """See `Listener`."""
        self._is_gone = True
        self._tell()


async def _outcome(program: EnteredProgram) -> Exit:
    try:
        code = await program.wait()
    except CannotStartError as error:
        return Exit(failure=f"{error}")
    return Exit(code=code) if code >= 0 else Exit(signal=_signal_name(-code))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals has no name
        return f"SIG{number}"
