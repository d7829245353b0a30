"""One small HTTP request to the tool: for readiness and activity probes.

HTTP/1.0 by hand: the answer ends with the connection, there is nothing to keep alive, pool or
decode, and a probe every 40 ms during start costs next to nothing.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from common.http1.lane import Address

LISTENING_SECONDS_MAX = 1.0
BODY_BYTES_MAX = 1024 * 1024  # a list of kernels; a tool that sends more is not listened to
_HEAD_BYTES_MAX = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")


class NoAnswerError(Exception):
    """Nothing there, or nothing that speaks HTTP, or too slow. Try again later."""


async def get(
    address: Address, target: str, *, limit_seconds: float, with_body: bool = True
) -> tuple[int, bytes]:
    """Return status and body of `GET target`, or raise NoAnswerError."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await _get(address, target, with_body=with_body)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        # TimeoutError is an OSError.
        raise NoAnswerError(str(error) or type(error).__name__) from None


async def _get(address: Address, target: str, *, with_body: bool) -> tuple[int, bytes]:
    reader = asyncio.StreamReader(limit=_HEAD_BYTES_MAX)
    transport, _ = await address.connect(lambda: asyncio.StreamReaderProtocol(reader))
    try:
        transport.write(f"GET {target} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        match = _STATUS_LINE.match(head)
        if match is None:
            raise NoAnswerError("the answer is not HTTP")
        body = await _read_all(reader) if with_body else b""
        return int(match[1]), body
    finally:
        transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await reader.read(_HEAD_BYTES_MAX):
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise NoAnswerError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)


async def listening(address: Address) -> bool:
    """Say whether somebody accepts connections there."""
    try:
        async with asyncio.timeout(LISTENING_SECONDS_MAX):
            transport, _ = await address.connect(asyncio.Protocol)
    except OSError:  # TimeoutError is one
        return False
    transport.abort()
    return True
