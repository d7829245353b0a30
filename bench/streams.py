"""A tool for large bodies and WebSockets, as a process: `python -m bench.streams PORT`.

- `GET /download?bytes=N`   N bytes of `pattern`
- `POST /upload`            compares the body with `pattern`, answers its length
- an upgrade, anywhere      echoes the frames of `frames`
- anything else             the body that `exchange` expects

It trusts its clients: they are ours.
"""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TYPE_CHECKING, cast

import uvloop

from bench import frames, pattern
from bench.exchange import body_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_WRITE_BUFFER_BYTES = 1024 * 1024
_NUMBER = re.compile(rb"\?(?:n|bytes)=(\d+) ")
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_KEY = re.compile(rb"\r\nsec-websocket-key: *(\S+)", re.IGNORECASE)


class StreamTool(asyncio.Protocol):
    """One connection."""

    def __init__(self) -> None:
        self._buffer = b""
        self._upload_bytes = 0
        self._position = 0
        self._fault = b""
        self._echoes = False
        self._rest: Iterator[memoryview] = iter(())
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=_WRITE_BUFFER_BYTES)

    def data_received(self, data: bytes) -> None:
        if self._upload_bytes:
            self._take(data)
            return
        self._buffer += data
        if self._echoes:
            self._echo()
            return
        head, end, early = self._buffer.partition(b"\r\n\r\n")
        if end:
            self._buffer = b""
            self._begin(head + b"\r\n", early)

    def _begin(self, head: bytes, early: bytes) -> None:
        key = _KEY.search(head)
        number = _NUMBER.search(head)
        if key is not None:
            self._switch(key[1], early)
        elif head.startswith(b"POST "):
            length = _LENGTH.search(head)
            assert length is not None
            self._upload_bytes, self._position, self._fault = int(length[1]), 0, b""
            self._take(early)
        elif head.startswith(b"GET /download") and number is not None:
            self._transport.write(_head(int(number[1])))
            self._rest = pattern.pieces(int(number[1]))
            self._send()
        else:
            self._answer(body_of(int(number[1]) if number else 0))

    def _answer(self, body: bytes) -> None:
        self._transport.write(_head(len(body)) + body)

    # ── uploads ──────────────────────────────────────────────────────────────

    def _take(self, data: bytes) -> None:
        if not pattern.is_right(data, self._position):
            self._fault = self._fault or b"wrong after %d bytes" % self._position
        self._position += len(data)
        if self._position >= self._upload_bytes:
            self._upload_bytes = 0
            self._answer(self._fault or b"%d" % self._position)

    # ── downloads ────────────────────────────────────────────────────────────

    def _send(self) -> None:
        while self._writable and (piece := next(self._rest, None)) is not None:
            self._transport.write(piece)

    def pause_writing(self) -> None:
        self._writable = False

    def resume_writing(self) -> None:
        self._writable = True
        self._send()

    # ── WebSockets ───────────────────────────────────────────────────────────

    def _switch(self, key: bytes, early: bytes) -> None:
        self._transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Accept: %b\r\n\r\n" % frames.accept(key)
        )
        self._echoes = True
        self._buffer = early
        self._echo()

    def _echo(self) -> None:
        while len(self._buffer) >= frames.CLIENT_FRAME_BYTES:
            frame = self._buffer[: frames.CLIENT_FRAME_BYTES]
            self._buffer = self._buffer[frames.CLIENT_FRAME_BYTES :]
            self._transport.write(frames.from_server(frames.text_of(frame)))


def _head(length: int) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length


async def serve(port: int) -> None:
    """Serve until cancelled."""
    server = await asyncio.get_running_loop().create_server(StreamTool, "127.0.0.1", port)
    await server.serve_forever()


def main(arguments: Sequence[str]) -> None:
    (port,) = arguments
    uvloop.run(serve(int(port)))


if __name__ == "__main__":
    main(sys.argv[1:])
