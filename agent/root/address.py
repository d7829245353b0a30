"""A place in the session's network, for connections from the agent's own loop."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from agent.root.namespaces import socket_within

if TYPE_CHECKING:
    from collections.abc import Callable

_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


@dataclass(frozen=True, slots=True)
class SessionAddress:
    """A TCP destination as seen from inside: `127.0.0.1` is the session's own loopback."""

    network_fd: int
    """The session's network namespace; must stay open as long as this is used."""
    host: str
    """An IPv4 address. Names would be looked up outside."""
    port: int

    async def connect(
        self, factory: Callable[[], _Protocol]
    ) -> tuple[asyncio.Transport, _Protocol]:
        """Connect like the loop's `create_connection`; raise OSError."""
        loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as closing:
            connecting = closing.enter_context(socket_within(self.network_fd))
            connecting.setblocking(False)
            await loop.sock_connect(connecting, (self.host, self.port))
            transport, protocol = await loop.create_connection(factory, sock=connecting)
            closing.pop_all()
        return transport, protocol
