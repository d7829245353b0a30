"""Enters a session from outside to start a program in it: `studios exec`. Exec'ed by `launching`.

The session must learn nothing from the helper, whose memory and descriptors come from outside, and
must never trace it. Hence the sequence: descriptors are closed (the environment was empty from the
start), it is made undumpable, it enters all namespaces at once, gives up what the session doesn't
have, and only **then** forks into the session's pid namespace and execs a program of the session.
The helper itself stays outside that namespace: to the session it doesn't exist. Its child is
undumpable until it execs.
"""

from __future__ import annotations

import fcntl
import os
import select

from agent.root import kernel
from agent.root.confining import confine, leave_parent_behind
from agent.root.orders import Enter, read_file
from agent.root.starter import Starter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_SIGKILL = 9
_NAMESPACES = (
    kernel.CLONE_NEWNS
    | kernel.CLONE_NEWPID
    | kernel.CLONE_NEWIPC
    | kernel.CLONE_NEWUTS
    | kernel.CLONE_NEWNET
    | kernel.CLONE_NEWCGROUP
)
_NEW_TERMINAL = "/dev/ptmx"
_TIOCSPTLCK = 0x40045431
_TIOCGPTPEER = 0x5441
_TIOCSCTTY = 0x540E
_STANDARD_STREAMS = (0, 1, 2)


def main(plan_fd: int, orders_fd: int, events_fd: int) -> None:
    """Become a process of the session that starts programs. Never returns."""
    kernel.die_with_parent(_SIGKILL)
    kernel.refuse_inspection()
    kernel.block_signals()
    try:
        enter = Enter.unpack(read_file(plan_fd))
        kept = [orders_fd, events_fd, enter.first_process_fd]
        if enter.terminal_fd is not None:
            kept.append(enter.terminal_fd)
        kernel.close_all_but(kept)
        doors = tuple(os.open(path, os.O_WRONLY | os.O_CLOEXEC) for path in enter.cgroup_inside)
        leave_parent_behind()
        send = None if enter.terminal_fd is None else _sender(enter.terminal_fd)
        kernel.enter_namespace(enter.first_process_fd, _NAMESPACES)
        os.close(enter.first_process_fd)
        confine(enter.seccomp, enter.capabilities)
        terminal = None if send is None else _open_terminal(send)
    except (OSError, ValueError) as error:
        os.write(events_fd, f"failed {error}\n".encode(errors="replace"))
        os._exit(1)

    alive, alive_end = os.pipe()

    def in_child() -> None:
        if not enter.outlives_agent:
            _die_with(alive, alive_end)
        if terminal is not None:
            _use_terminal(terminal)

    def after_start() -> None:
        if terminal is not None:
            os.close(terminal)  # or the agent's side would never hear that all have left it

    Starter(orders_fd, events_fd, doors, in_child=in_child, after_start=after_start).run()


def _die_with(alive: int, alive_end: int) -> None:
    """Have this process end with the helper, also when that has ended already.

    Asking for the parent doesn't tell: from inside the session's pid namespace the helper has no
    number.
    """
    kernel.die_with_parent(_SIGKILL)
    os.close(alive_end)
    waiting = select.poll()
    waiting.register(alive, 0)
    if waiting.poll(0):
        os._exit(1)


def _sender(terminal_fd: int) -> Callable[[int], None]:
    """Return what hands a descriptor to the agent. Made early: `socket` is a file of the host."""
    import socket  # noqa: PLC0415 - costs 5 ms, and most programs get no terminal

    def send(fd: int) -> None:
        with socket.socket(fileno=terminal_fd) as channel:
            socket.send_fds(channel, [b"t"], [fd])

    return send


def _open_terminal(send: Callable[[int], None]) -> int:
    """Make a terminal of the session's own devpts; the agent gets one end, the other is returned.

    The other end is asked of the first by ioctl: a path could be anything here.
    """
    master = os.open(_NEW_TERMINAL, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    fcntl.ioctl(master, _TIOCSPTLCK, bytes(4))
    slave = fcntl.ioctl(master, _TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    send(master)
    os.close(master)
    return slave


def _use_terminal(slave: int) -> None:
    fcntl.ioctl(slave, _TIOCSCTTY, 0)
    for stream in _STANDARD_STREAMS:
        os.dup2(slave, stream)
