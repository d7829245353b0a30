"""Requests, and the only response that is right. Pure.

A request has a number; the tool repeats it in its body, so that a response that belongs to another
request is seen. All doors get the same bytes, cookie included.
"""

from __future__ import annotations

from dataclasses import dataclass

BODY_BYTES = 1024
_DIGITS = 8
_PADDING = " " + "x" * (BODY_BYTES - _DIGITS - 1)
_CONTENT_LENGTH = b"\r\ncontent-length: %d\r\n" % BODY_BYTES

TOOL_BODY = f"$arg_n{_PADDING}"
"""The body in nginx's words: `?n=` of the request, then padding."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, and for which session: the header fields of every request."""

    host: str
    cookie: str


class Exchange:
    """Writes the requests of one visitor."""

    def __init__(self, visitor: Visitor) -> None:
        fields = f"Host: {visitor.host}\r\nCookie: {visitor.cookie}\r\n\r\n"
        self._origin = f"http://{visitor.host}".encode()
        self._rest = f" HTTP/1.1\r\n{fields}".encode()

    def request(self, number: int) -> bytes:
        return b"GET /lab?n=%08d%b" % (number, self._rest)

    def download(self, size_bytes: int) -> bytes:
        return b"GET /download?bytes=%d%b" % (size_bytes, self._rest)

    def upload(self, size_bytes: int) -> bytes:
        """Return the head of an upload; Origin is what a browser sends with it."""
        length = b"\r\nContent-Length: %d\r\nOrigin: %b" % (size_bytes, self._origin)
        return b"POST /upload HTTP/1.1%b%b" % (length, self._rest.removeprefix(b" HTTP/1.1"))

    def upgrade(self, key: bytes) -> bytes:
        """Return the request that opens a WebSocket."""
        fields = (
            b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            b"\r\nSec-WebSocket-Key: %b\r\nOrigin: %b" % (key, self._origin)
        )
        return b"GET /echo HTTP/1.1%b%b" % (fields, self._rest.removeprefix(b" HTTP/1.1"))


def body_of(number: int) -> bytes:
    """Return the body of the right response to request `number`."""
    return f"{number:0{_DIGITS}}{_PADDING}".encode()


def complete(received: bytes) -> bool:
    """Say whether `received` has a head and at least as many bytes as the right body."""
    end = received.find(b"\r\n\r\n")
    return end >= 0 and len(received) >= end + 4 + BODY_BYTES


def fault(received: bytes, body: bytes) -> str:
    """Return what is wrong with a complete response that should have `body`, or nothing."""
    head, _, rest = received.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return f"status line {head.splitlines()[0]!r}"
    if _CONTENT_LENGTH not in head.lower() + b"\r\n":
        return f"no Content-Length of {BODY_BYTES} in {head!r}"
    if rest != body:
        return f"a body of {len(rest)} bytes that begins {rest[:32]!r} instead of {body[:32]!r}"
    return ""
