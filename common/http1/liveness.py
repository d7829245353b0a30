"""Notices peers that vanished without a word: sleeping laptops, forgetful NATs, dead hosts."""

from __future__ import annotations

import fcntl
import socket
import termios
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

_IDLE_SECONDS = 60
_PROBE_SECONDS = 20
_PROBES = 3


def probe(transport: asyncio.Transport) -> None:
    """Let TCP probe an idle connection; one whose peer is gone ends after two minutes.

    An idle WebSocket would else stay open for ever. TCP_USER_TIMEOUT would be quicker while bytes
    are under way, but it also ends connections to peers that live and don't read for a while.
    """
    connection = transport.get_extra_info("socket")
    if connection is None or connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _IDLE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _PROBE_SECONDS)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, _PROBES)


def unacknowledged_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes were written that the peer's TCP has not acknowledged yet."""
    buffered = transport.get_write_buffer_size()
    connection = transport.get_extra_info("socket")
    if connection is None:
        return buffered
    queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    return buffered + int.from_bytes(queued, "little")
