"""Peers that vanish without a word."""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import pytest
import uvloop

from common.http1.liveness import probe, unacknowledged_bytes
from tests.support.rig import until


async def look() -> None:
    accepted: list[asyncio.StreamWriter] = []

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        accepted.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    _, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await until(lambda: accepted)
    transport = cast("asyncio.Transport", writer.transport)
    probe(transport)
    connection = transport.get_extra_info("socket")
    assert connection.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
    transport.write(b".")
    await until(lambda: unacknowledged_bytes(transport) == 0, what="the kernel acknowledged")
    transport.write(bytes(20_000_000))
    await asyncio.sleep(0.05)
    assert unacknowledged_bytes(transport) > 1_000_000
    transport.abort()
    accepted[0].transport.abort()
    server.close()
    await asyncio.sleep(0)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_what_the_peer_has_not_acknowledged_is_known(run: object) -> None:
    assert callable(run)
    run(look())


async def test_a_unix_socket_needs_no_probes() -> None:
    here, there = socket.socketpair()
    _, writer = await asyncio.open_unix_connection(sock=here)
    transport = cast("asyncio.Transport", writer.transport)
    probe(transport)
    assert unacknowledged_bytes(transport) == 0
    writer.close()
    there.close()
