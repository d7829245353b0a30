"""Starts programs as the agent asks, and tells how they ended.

It is the loop of the session's first process and, for `studios exec`, of a helper that has entered
the session.

All signals are blocked and none has a handler, so nothing that the session sends can disturb a
first process; the kernel keeps SIGKILL and SIGSTOP from inside away from it. It waits in `poll` for
the agent's orders and, through a signalfd, for children that ended; a first process is given all
orphans of the session, and reaps them. When the agent's end of the pipe closes it exits. For a
first process that is the end of the session: besides the parent-death signal, a second way in which
no session outlives its agent.

It stays outside the session's cgroup, and only its children enter: a memory or fork bomb can't
take it along, and a program can be started while one goes off.
"""

from __future__ import annotations

import os
import select

from agent.root import kernel
from agent.root.orders import SignalAll, Start, read_order

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from agent.root.orders import Forward

_SIGCHLD = 17
_CANNOT_EXEC = 127  # what a shell answers when there is no such program
_SIGNAL_RECORD_BYTES = 128
_STATUS_BYTES = 4096
_FIRST_PROCESS = 1
_EMPTYING_MILLISECONDS = 20  # between two looks whether anybody is left


def _nothing() -> None: ...


class Starter:
    """Use `run` once."""

    def __init__(
        self,
        orders_fd: int,
        events_fd: int,
        doors: tuple[int, ...],
        *,
        in_child: Callable[[], None] = _nothing,
        after_start: Callable[[], None] = _nothing,
    ) -> None:
        """`doors` take a process into the session's cgroups; `in_child` is called before exec."""
        self._orders_fd = orders_fd
        self._events_fd = events_fd
        self._doors = doors
        self._in_child = in_child
        self._after_start = after_start
        self._started: set[int] = set()
        self._emptying = False

    def run(self) -> NoReturn:
        """Live as long as the agent does."""
        os.set_inheritable(self._orders_fd, False)
        os.set_inheritable(self._events_fd, False)
        children_fd = kernel.signal_descriptor(_SIGCHLD)
        waiting = select.poll()
        waiting.register(self._orders_fd, select.POLLIN)
        waiting.register(children_fd, select.POLLIN)
        self._tell("ready")
        while True:
            limit = _EMPTYING_MILLISECONDS if self._emptying else None
            ready = {fd for fd, _ in waiting.poll(limit)}
            if children_fd in ready:
                os.read(children_fd, _SIGNAL_RECORD_BYTES)
                self._reap()
            if self._orders_fd in ready:
                self._obey()
            if self._emptying and not _others():
                self._emptying = False
                self._tell("empty")

    def _obey(self) -> None:
        order = read_order(self._orders_fd)
        if order is None:
            os._exit(0)
        elif isinstance(order, Start):
            self._start(order)
        elif isinstance(order, SignalAll):
            self._signal_all(order)
        else:
            self._forward(order)

    def _start(self, order: Start) -> None:
        try:
            pid = os.fork()
        except OSError as error:
            self._tell(f"refused {error}")
            return
        if pid == 0:
            self._become(order)
        self._after_start()
        self._started.add(pid)
        self._tell(f"started {pid}")

    def _become(self, order: Start) -> NoReturn:
        """In the child: enter the cgroup, then be the program."""
        try:
            for door in self._doors:
                os.write(door, b"0")
            os.setsid()
            self._in_child()
            kernel.reset_signals()
            os.chdir(order.working_directory)
            _execute(order.arguments, dict(order.environment))
        except (OSError, ValueError) as error:
            os.write(2, f"{order.arguments[0]} could not be started: {error}\n".encode())
        os._exit(_CANNOT_EXEC)

    def _forward(self, order: Forward) -> None:
        if order.pid not in self._started:
            return
        try:
            os.killpg(order.pid, order.signal)
        except ProcessLookupError:
            self._signal_leader(order)
        except OSError:
            return

    def _signal_leader(self, order: Forward) -> None:
        """It leads no group yet; or it has ended, is not reaped, and its group is gone."""
        try:
            os.kill(order.pid, order.signal)
        except OSError:
            return

    def _signal_all(self, order: SignalAll) -> None:
        # "All" are all of the pid namespace: in a helper's, which is the host's, the whole machine.
        if os.getpid() != _FIRST_PROCESS:
            return
        self._emptying = True
        chosen = [-1]
        if order.who_ignores:
            chosen = [pid for pid in _others() if _ignores(pid, order.who_ignores)]
        for pid in chosen:
            try:
                os.kill(pid, order.signal)
            except ProcessLookupError:
                continue  # it has ended, or nobody was there

    def _reap(self) -> None:
        """Take every child that has ended, also those that were never started here."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self._started:
                self._started.discard(pid)
                self._tell(f"ended {pid} {status}")

    def _tell(self, event: str) -> None:
        os.write(self._events_fd, f"{event}\n".encode(errors="replace"))


def _others() -> list[int]:
    """Return the processes in this pid namespace but the first."""
    return [int(name) for name in os.listdir("/proc") if name.isdecimal() and name != "1"]


def _ignores(pid: int, signal: int) -> bool:
    try:
        fd = os.open(f"/proc/{pid}/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            status = os.read(fd, _STATUS_BYTES)
        finally:
            os.close(fd)
    except OSError:
        return False  # it has ended
    _, _, rest = status.partition(b"\nSigIgn:\t")
    return bool(int(rest[:16] or b"0", 16) >> (signal - 1) & 1)


def _execute(arguments: tuple[str, ...], environment: dict[str, str]) -> NoReturn:
    """Be the program, looked for on the PATH of `environment`; raise OSError if there is none.

    Not `os.execvpe`, which imports something once it is called.
    """
    program = arguments[0]
    folders = [""] if "/" in program else environment.get("PATH", "").split(":")
    problem: OSError = FileNotFoundError(2, "No such program")
    for folder in folders:
        try:
            os.execve(f"{folder}/{program}" if folder else program, arguments, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problem = error
    raise problem
