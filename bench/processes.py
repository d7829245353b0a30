"""Child processes: started, waited for, ended; and the CPU time they use.

Every child leads a process group of its own, so that Ctrl-C reaches only the bench, which ends them
in order; and the kernel ends them (`setpriv --pdeathsig`) should the bench itself be killed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

_READY_SECONDS_MAX = 20.0  # node starts in 0.3 s; a busy machine takes ten times as long
_END_SECONDS_MAX = 5.0  # the edge drains for what is left of its requests, then goes
_POLL_SECONDS = 0.02
_LOG_TAIL_BYTES = 2000


class BenchError(Exception):
    """The benchmark can't go on, or its result would not be worth publishing. Says why."""


class Child:
    """One process of ours; `log` has what it wrote to standard error and output."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self._process = process
        self._log = log

    def cpu_seconds(self) -> float:
        """Return the CPU time that it and its children have used so far, in ticks of 10 ms."""
        root = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def memory_peak_bytes(self) -> int:
        """Return the most memory it ever had resident, its children's included."""
        root = psutil.Process(self._process.pid)
        return sum(peak_bytes(each.pid) for each in (root, *root.children(recursive=True)))

    @property
    def pid(self) -> int:
        return self._process.pid

    def must_run(self) -> None:
        """Raise BenchError, with its last words, if it has ended."""
        if self._process.returncode is None:
            return
        words = self._log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        raise BenchError(f"{self.name} ended with code {self._process.returncode}: {words}")

    async def listening(self, port: int) -> None:
        """Wait until it takes connections on `port`."""
        try:
            async with asyncio.timeout(_READY_SECONDS_MAX):
                while not await _takes_connections(port):
                    self.must_run()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise BenchError(f"{self.name} does not listen on port {port}: {self._log}") from None

    async def wrote(self, path: Path) -> None:
        """Wait until it has put a file at `path`."""
        try:
            async with asyncio.timeout(_READY_SECONDS_MAX):
                while not path.exists():  # noqa: ASYNC240 - a name in memory, nobody waits
                    self.must_run()
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            raise BenchError(f"{self.name} did not write {path}: {self._log}") from None

    def send_signal(self, number: signal.Signals) -> None:
        """Signal its process group, if it still lives."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    async def ended(self, *, seconds_max: float) -> None:
        """Wait until it ends by itself."""
        try:
            async with asyncio.timeout(seconds_max):
                await self._process.wait()
        except TimeoutError:
            raise BenchError(f"{self.name} did not end in {seconds_max:.0f} s") from None

    async def succeeded(self, *, seconds_max: float) -> None:
        """Wait until it ends by itself, and raise BenchError unless that was with code 0."""
        await self.ended(seconds_max=seconds_max)
        if self._process.returncode:
            self.must_run()

    async def end(self) -> None:
        """SIGTERM, and SIGKILL to the whole group if that isn't enough."""
        if self._process.returncode is None:
            self.send_signal(signal.SIGTERM)
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_SECONDS_MAX):
                    await self._process.wait()
        self.send_signal(signal.SIGKILL)  # what it left behind in its group
        await self._process.wait()


class CpuMeter:
    """CPU time that processes use from its making on."""

    def __init__(self, processes: Mapping[str, Child]) -> None:
        self._processes = processes
        self._before = {name: process.cpu_seconds() for name, process in processes.items()}

    def microseconds_each(self, count: int) -> dict[str, float]:
        """Return, by process, what one of `count` requests took."""
        return {
            name: (process.cpu_seconds() - self._before[name]) / count * 1e6
            for name, process in self._processes.items()
        }


@asynccontextmanager
async def child(name: str, *command: str, folder: Path, **environment: str) -> AsyncIterator[Child]:
    """Run `command` while inside, its output in `folder/<name>.log`."""
    log = folder / f"{name}.log"
    settings = [f"{key}={value}" for key, value in environment.items()]
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "TERM", "env", *settings, *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    one = Child(name, process, log)
    try:
        yield one
    finally:
        await asyncio.shield(one.end())


def find_program(name: str) -> str:
    """Return where `name` is; Debian keeps servers where only root's PATH looks."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise BenchError(f"{name} is not installed: run scripts/install --dev")
    return found


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def _takes_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process ever had resident."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
