"""**Start here.** One command in a session, from its order to its exit code.

What comes from the session, the person's streams and signals arrives by plain calls and is passed
on at once; `run` waits for the end and sees that everything was written by then.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from common.exec.messages import (
    Credit,
    Exit,
    Notice,
    Resize,
    Signal,
    Started,
    Stderr,
    Stdin,
    StdinEnd,
    Stdout,
)
from studios.exec.streams import Input, Output
from studios.failures import CommandError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from common.clock import Clock
    from common.exec.messages import FromAgent, Order
    from studios.exec.connection import Connection
    from studios.exec.terminal import PersonsTerminal

IMPATIENT = 3
"""So many Ctrl-C, and this program leaves, whatever the command does."""
_SIGNAL_CODES = 128  # plus the signal's number, as shells say it
_FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_LEAVING = (signal.SIGHUP,)
_LEAVING_RAW = (signal.SIGHUP, signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)


@dataclass(frozen=True, slots=True)
class Streams:
    """Descriptors of the person's standard streams."""

    stdin: int = 0
    stdout: int = 1
    stderr: int = 2


class Session:
    """See the module. Use `run` once."""

    def __init__(
        self,
        connection: Connection,
        order: Order,
        *,
        streams: Streams,
        terminal: PersonsTerminal | None,
        clock: Clock,
    ) -> None:
        """`terminal` is there if the order asks for one."""
        self._connection = connection
        self._order = order
        self._streams = streams
        self._terminal = terminal
        self._clock = clock
        self._news = asyncio.Event()
        self._output = Output(changed=self._written)
        self._input = Input(
            streams.stdin,
            given=lambda data: connection.say(Stdin(data)),
            ended=lambda: connection.say(StdinEnd()),
        )
        self._pid: int | None = None
        self._exit: Exit | None = None
        self._lost: str | None = None
        self._left: signal.Signals | None = None
        """The signal for which this program leaves."""
        self._interrupts = 0

    async def run(self) -> int:
        """Return the code to exit with; raise one of our failures if the command has none."""
        with contextlib.ExitStack() as stack:
            if self._terminal is not None:
                stack.enter_context(self._terminal.raw())
            stack.enter_context(self._signals())
            stack.callback(self._input.close)
            self._connection.say(self._order)
            self._connection.listen(self)
            async with asyncio.TaskGroup() as group:
                pinging = group.create_task(self._connection.keep_alive(self._clock))
                await self._until(lambda: self._is_over)
                pinging.cancel()
        return self._result()

    async def start_detached(self) -> int:
        """Return the pid of a detached command; 0 if nobody knows it."""
        self._connection.say(self._order)
        self._connection.listen(self)
        await self._until(
            lambda: self._pid is not None or self._exit is not None or self._lost is not None
        )
        if self._pid is None:
            self._result()
        return self._pid or 0

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()

    @property
    def _is_over(self) -> bool:
        if self._left is not None or self._output.problem is not None:
            return True
        return (self._exit is not None or self._lost is not None) and not self._output.pending_bytes

    def _result(self) -> int:
        if self._exit is not None:
            return _exit_code(self._exit)
        if self._left is not None:
            return _SIGNAL_CODES + self._left
        if isinstance(self._output.problem, BrokenPipeError):  # `studios exec … | head`
            return _SIGNAL_CODES + signal.SIGPIPE
        if self._output.problem is not None:
            raise CommandError(f"What the command prints can't be written: {self._output.problem}.")
        raise UnreachableError(f"{self._lost} The command was ended.")

    # ── from the session ─────────────────────────────────────────────────────

    def received(self, message: FromAgent) -> None:
        """See `Listener`."""
        match message:
            case Stdout(data):
                self._print(self._streams.stdout, data)
            case Stderr(data):
                self._print(self._streams.stderr, data)
            case Credit(size_bytes):
                self._input.grant(size_bytes)
            case Started(pid):
                self._pid = pid
            case Notice(sentence):
                end = "\r\n" if self._terminal is not None else "\n"
                start = end if self._terminal is not None else ""
                self._print(self._streams.stderr, f"{start}{sentence}{end}".encode())
            case Exit():
                self._exit = message
                self._input.close()
            case _:
                assert_never(message)
        self._news.set()

    def _print(self, fd: int, data: bytes) -> None:
        self._output.put(fd, data)
        if self._output.is_full:
            self._connection.pause()

    def _written(self) -> None:
        if not self._output.is_full:
            self._connection.resume()
        self._news.set()

    def lost(self, sentence: str) -> None:
        """See `Listener`."""
        self._lost = sentence
        self._input.close()
        self._news.set()

    # ── from the person ──────────────────────────────────────────────────────

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Do with signals what the person means by them, for the length of the block."""
        loop = asyncio.get_running_loop()
        handlers: dict[signal.Signals, Callable[[signal.Signals], None]] = {}
        if self._terminal is None:
            handlers |= dict.fromkeys(_FORWARDED, self._forward)
            handlers |= dict.fromkeys(_LEAVING, self._leave)
        else:
            handlers |= dict.fromkeys(_LEAVING_RAW, self._leave)
            handlers |= {signal.SIGWINCH: self._resized, signal.SIGCONT: self._continued}
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler, number)
        try:
            yield
        finally:
            for number in handlers:
                loop.remove_signal_handler(number)

    def _forward(self, number: signal.Signals) -> None:
        if number is signal.SIGINT:
            self._interrupts += 1
            if self._interrupts >= IMPATIENT:
                self._leave(number)
                return
        self._connection.say(Signal(number.name))

    def _leave(self, number: signal.Signals) -> None:
        """Leave as if by this signal; the session ends a command whose client is gone."""
        self._left = number
        self._news.set()

    def _resized(self, _: signal.Signals) -> None:
        self._connection.say(self._size())

    def _continued(self, _: signal.Signals) -> None:
        """Somebody stopped this program and let it go on: the shell has used the terminal."""
        assert self._terminal is not None
        self._terminal.make_raw()
        self._connection.say(self._size())

    def _size(self) -> Resize:
        assert self._terminal is not None
        return self._terminal.size()


def _exit_code(found: Exit) -> int:
    if found.failure is not None:
        raise CommandError(f"{found.failure[:1].upper()}{found.failure[1:]}.")
    if found.signal is not None:
        return _SIGNAL_CODES + _number(found.signal)
    assert found.code is not None
    return found.code


def _number(name: str) -> int:
    if name in signal.Signals.__members__:
        return signal.Signals[name]
    digits = name.removeprefix("SIG")  # one without a name, see the protocol
    return int(digits) if digits.isdecimal() else 0
