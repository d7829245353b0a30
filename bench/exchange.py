"""The request of one number, and the only response that is right. Pure.

The tool repeats the number in its body, so that a response that belongs to another request is
seen. All doors get the same bytes, cookie included.
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
    """Writes requests and judges responses for one visitor."""

    def __init__(self, visitor: Visitor) -> None:
        fields = f"Host: {visitor.host}\r\nCookie: {visitor.cookie}\r\n\r\n"
        self._rest = f" HTTP/1.1\r\n{fields}".encode()

    def request(self, number: int) -> bytes:
        return b"GET /lab?n=%08d%b" % (number, self._rest)

    def body(self, number: int) -> bytes:
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
