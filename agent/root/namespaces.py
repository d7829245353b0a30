"""Network namespaces without a process in them: kept by a descriptor, entered by a thread.

A socket belongs for ever to the namespace in which it was made, so a thread that enters, makes one
and comes back has a door into the session's network (14 µs), with the agent's loop around it. Only
the calling thread is moved, and nothing else of it: no await, no other work in between.
"""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

from agent.root import kernel

if TYPE_CHECKING:
    from collections.abc import Iterator

_CURRENT = "/proc/thread-self/ns/net"


def new_network() -> int:
    """Return a new network namespace; nothing in it but a loopback that is switched off."""
    with _return_afterwards():
        kernel.unshare(kernel.CLONE_NEWNET)
        return os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)


@contextlib.contextmanager
def within_network(fd: int) -> Iterator[None]:
    """Be in the network namespace `fd` for the length of the block, which must not await."""
    with _return_afterwards():
        kernel.enter_namespace(fd, kernel.CLONE_NEWNET)
        yield


def socket_within(
    fd: int,
    family: socket.AddressFamily = socket.AF_INET,
    kind: socket.SocketKind = socket.SOCK_STREAM,
) -> socket.socket:
    """Return a new socket of the network namespace `fd`."""
    with within_network(fd):
        return socket.socket(family, kind)


@contextlib.contextmanager
def _return_afterwards() -> Iterator[None]:
    """Come back to the present namespace, or end the process.

    A thread of the agent that is left in a session's network would dial the tunnel from there.
    """
    home = os.open(_CURRENT, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield
    finally:
        try:
            kernel.enter_namespace(home, kernel.CLONE_NEWNET)
        except OSError:
            os.abort()
        os.close(home)
