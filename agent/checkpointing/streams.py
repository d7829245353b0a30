"""Messages over a pair of sockets, as both ends send and read them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from agent.checkpointing import orders

if TYPE_CHECKING:
    from collections.abc import Iterable
    from socket import socket

    from agent.checkpointing.orders import Heard, Order


class Message(NamedTuple):
    """One as it came."""

    body: bytes
    appendix: bytes


class Stream:
    """One end. Whoever reads it is one task, whoever sends is one at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def of(cls, end: socket) -> Stream:
        """Take over one end of a pair."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send(
        self, message: Order | Heard, appendix: Iterable[bytes] = (), *, appendix_bytes: int = 0
    ) -> None:
        """Send a message; raise OSError if nobody is there any more."""
        self._writer.write(orders.encode(message, appendix_bytes=appendix_bytes))
        await self._writer.drain()
        for piece in appendix:
            self._writer.write(piece)
            await self._writer.drain()

    def say(self, message: Order | Heard) -> None:
        """Send a small message without waiting until it has gone."""
        self._writer.write(orders.encode(message))

    async def read(self) -> Message | None:
        """Return the next message; None once there is no other end any more."""
        try:
            head = await self._reader.readexactly(orders.HEAD_BYTES)
            body_bytes, appendix_bytes = orders.lengths(head)
            body = await self._reader.readexactly(body_bytes)
            return Message(body, await self._reader.readexactly(appendix_bytes))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def close(self) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except OSError:
            return
