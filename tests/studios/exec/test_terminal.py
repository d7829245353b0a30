"""`studios exec -it` in a terminal, which is given back as it was, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
import termios
from typing import TYPE_CHECKING

import pytest

from tests.studios.exec.conftest import SECONDS_MAX, Studios
from tests.support.rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_RAW_OFF = termios.ICANON | termios.ECHO | termios.ISIG
BASH = ("bash", "--norc", "--noprofile", "--noediting", "-i")


class Window:
    """A terminal with a program in it, and whoever sits before it."""

    def __init__(self) -> None:
        self.near, self.far = os.openpty()
        os.set_blocking(self.near, False)
        self.resize(31, 91)
        self.before = termios.tcgetattr(self.far)
        self.seen = b""
        self._arrived = asyncio.Event()
        asyncio.get_running_loop().add_reader(self.near, self._read)

    def _read(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self.seen += os.read(self.near, 65536)
        self._arrived.set()

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self.near, (rows, columns))

    def type(self, text: str) -> None:
        os.write(self.near, text.encode())

    async def until(self, text: str) -> None:
        """Wait for it to show `text`; what came up to it is then forgotten."""
        try:
            async with asyncio.timeout(SECONDS_MAX):
                while text.encode() not in self.seen:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise AssertionError(f"{text!r} is not in {self.seen!r}") from None
        self.seen = self.seen.partition(text.encode())[2]

    @property
    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.far)[3] & _RAW_OFF

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self.near)
        os.close(self.near)
        os.close(self.far)


@pytest.fixture
async def window() -> AsyncIterator[Window]:
    window = Window()
    yield window
    window.close()


class Program:
    """A running `studios exec -it demo -- …` in a window."""

    def __init__(self, process: asyncio.subprocess.Process, window: Window) -> None:
        self.process = process
        self.window = window

    async def ends(self) -> int:
        """Return its exit code; its terminal must be as it was."""
        async with asyncio.timeout(SECONDS_MAX):
            code = await self.process.wait()
        assert termios.tcgetattr(self.window.far) == self.window.before
        return code


@contextlib.asynccontextmanager
async def started(studios: Studios, window: Window, *words: str) -> AsyncIterator[Program]:
    process = await asyncio.create_subprocess_exec(
        *(
            "setsid",
            "--ctty",
            "--wait",
            sys.executable,
            "-m",
            "studios",
            "exec",
            "-it",
            "demo",
            "--",
        ),
        *words,
        env=studios.environment,
        stdin=window.far,
        stdout=window.far,
        stderr=window.far,
    )
    try:
        yield Program(process, window)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def pid_of(program: Program) -> int:
    """Return the pid of studios itself, which `setsid` waits for."""
    with open(f"/proc/{program.process.pid}/task/{program.process.pid}/children") as file:
        children = file.read().split()
    return int(children[0]) if children else program.process.pid


async def test_a_shell_feels_as_if_it_were_here(studios: Studios, window: Window) -> None:
    async with started(studios, window, *BASH) as program:
        await window.until("# ")
        assert window.is_raw
        window.type("echo $TERM; stty size\r")
        await window.until("\r\nxterm-test\r\n31 91\r\n")
        await window.until("# ")
        window.type("cat\r")
        await window.until("cat\r\n")
        window.type("runs\r")
        await window.until("runs\r\nruns\r\n")
        window.type("\x1a")
        await window.until("Stopped")
        await window.until("# ")
        window.type("fg\r")
        await window.until("fg\r\ncat\r\n")
        window.type("typed\r")
        await window.until("typed\r\ntyped\r\n")
        window.type("\x03")
        await window.until("^C")
        window.type("exit 7\r")
        assert await program.ends() == 7


async def test_another_size_reaches_the_command(studios: Studios, window: Window) -> None:
    script = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done"
    async with started(studios, window, "sh", "-c", script) as program:
        await window.until("ready")
        window.resize(40, 100)
        await window.until("40 100\r\n")
        assert await program.ends() == 0


async def test_every_key_arrives_as_it_was_typed(studios: Studios, window: Window) -> None:
    script = "stty raw -echo; echo ready; head -c 255 | od -An -v -tx1 | tr -d ' \\n'"
    keys = bytes(range(1, 256))
    async with started(studios, window, "sh", "-c", script) as program:
        await window.until("ready")
        os.write(window.near, keys)
        await window.until(keys.hex())
        assert await program.ends() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT])
async def test_a_signal_to_it_gives_the_terminal_back(
    studios: Studios, window: Window, number: signal.Signals
) -> None:
    async with started(studios, window, *BASH) as program:
        await window.until("# ")
        assert window.is_raw
        os.kill(pid_of(program), number)
        assert await program.ends() == 128 + number
    await until(lambda: not studios.place.ground.living(), what="the command has ended")


async def test_a_lost_connection_gives_the_terminal_back(studios: Studios, window: Window) -> None:
    async with started(studios, window, *BASH) as program:
        await window.until("# ")
        studios.place.cut()
        assert await program.ends() == 5
        await window.until("Error: The connection to the session was lost")


async def test_a_command_that_fails_gives_the_terminal_back(
    studios: Studios, window: Window
) -> None:
    async with started(studios, window, "sh", "-c", "kill -SEGV $$") as program:
        assert await program.ends() == 128 + signal.SIGSEGV
    await studios.place.ground.leave()
    async with started(studios, window, "true") as program:
        assert await program.ends() == 1


async def test_stopped_and_continued_it_is_raw_again(studios: Studios, window: Window) -> None:
    async with started(studios, window, *BASH) as program:
        await window.until("# ")
        pid = pid_of(program)
        os.kill(pid, signal.SIGSTOP)
        termios.tcsetattr(window.far, termios.TCSANOW, window.before)  # as a shell does
        window.resize(50, 101)
        os.kill(pid, signal.SIGCONT)
        await until(lambda: window.is_raw, what="it is raw again")
        window.type("stty size; exit\r")
        await window.until("50 101\r\n")
        assert await program.ends() == 0


async def test_a_notice_stands_on_a_line_of_its_own(studios: Studios, window: Window) -> None:
    async with started(studios, window, "sh", "-c", "printf typing; exec sleep 600"):
        await window.until("typing")
        studios.place.execs.announce_end()
        await window.until("\r\nThe session is being stopped.\r\n")


async def test_a_window_that_is_closed_ends_the_command(studios: Studios) -> None:
    window = Window()
    async with started(studios, window, *BASH) as program:
        await window.until("# ")
        window.close()
        assert re.fullmatch(r"-?\d+", str(await program.process.wait()))
    await until(lambda: not studios.place.ground.living(), what="the command has ended")
