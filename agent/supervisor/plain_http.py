"""One small HTTP request to the tool: for readiness and activity probes.

HTTP/1.0 by hand: the answer ends with the connection, there is nothing to keep alive, pool or
decode, and a probe every 100 ms during start costs next to nothing.
"""

from __future__ import annotations

import asyncio
import re

BODY_BYTES_MAX = 1024 * 1024  # a list of kernels; a tool that sends more is not listened to
_HEAD_BYTES_MAX = 64 * 1024
_STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-5]\d\d)[ \r]")


class NoAnswerError(Exception):
    """Nothing there, or nothing that speaks HTTP, or too slow. Try again later."""


async def get(
    port: int, target: str, *, limit_seconds: float, with_body: bool = True
) -> tuple[int, bytes]:
    """Return status and body of `GET target` from 127.0.0.1, or raise NoAnswerError."""
    try:
        async with asyncio.timeout(limit_seconds):
            return await _get(port, target, with_body=with_body)
    except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        # TimeoutError is an OSError.
        raise NoAnswerError(str(error) or type(error).__name__) from None


async def _get(port: int, target: str, *, with_body: bool) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_HEAD_BYTES_MAX)
    try:
        writer.write(f"GET {target} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        match = _STATUS_LINE.match(head)
        if match is None:
            raise NoAnswerError("the answer is not HTTP")
        body = await _read_all(reader) if with_body else b""
        return int(match[1]), body
    finally:
        writer.transport.abort()


async def _read_all(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while chunk := await reader.read(_HEAD_BYTES_MAX):
        body += chunk
        if len(body) > BODY_BYTES_MAX:
            raise NoAnswerError(f"the answer is longer than {BODY_BYTES_MAX} bytes")
    return bytes(body)


async def listening(port: int) -> bool:
    """Say whether somebody accepts connections on 127.0.0.1:`port`."""
    try:
        async with asyncio.timeout(1.0):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.transport.abort()
    return True
