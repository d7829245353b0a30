"""Where a message body ends (RFC 9112, section 6), found without touching its bytes.

Bodies are passed on exactly as they came; a scanner only says how many of the bytes at hand belong
to the body. A length needs no look at the data at all. For the chunked coding it jumps from one
chunk header to the next. Strict: hexadecimal digits and CRLF; chunk extensions are refused because
servers disagree on where they end, which is what request smuggling lives on.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from common.http1.head import RequestHead, ResponseHead

_CHUNK_LINE = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_CHUNK_LINE_MAX = 17
_TRAILER_BYTES_MAX = 16 * 1024
_TRAILER_LINE = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+:[^\x00\r\n]*")


class MalformedBodyError(Exception):
    """The sender broke the chunked coding; nothing after this can be understood."""


class Scanner(Protocol):
    """Follows one body. `done` is true once its last byte was scanned."""

    done: bool

    def scan(self, data: bytes) -> int:
        """Return how many of the first bytes of `data` belong to the body; less only at its end."""
        ...


class NoBody:
    """A message that ends with its head."""

    __slots__ = ()
    done = True

    def scan(self, data: bytes) -> int:
        del data
        return 0


class LengthBody:
    """A body of a known number of bytes, at least one."""

    __slots__ = ("_left", "done")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0

    def scan(self, data: bytes) -> int:
        if len(data) < self._left:
            self._left -= len(data)
            return len(data)
        taken, self._left, self.done = self._left, 0, True
        return taken


class UntilCloseBody:
    """A response that ends with its connection."""

    __slots__ = ()
    done = False

    def scan(self, data: bytes) -> int:
        return len(data)


class ChunkedBody:
    """A body in the chunked coding, with its trailers.

    States: at a chunk line (`_left` 0), inside a chunk and its CRLF (`_left` > 0), or in the
    trailers. `_held` is the beginning of a line that isn't complete yet: those bytes have been
    counted (and passed on) already.
    """

    __slots__ = ("_held", "_left", "_trailers", "_trailing", "done")

    def __init__(self) -> None:
        self._left = 0
        self._held = b""
        self._trailing = False
        self._trailers = 0
        self.done = False

    def scan(self, data: bytes) -> int:
        position, end = 0, len(data)
        while position < end and not self.done:
            if self._trailing:
                position = self._trailer_line(data, position)
            elif self._left > 2:
                step = min(self._left - 2, end - position)
                self._left -= step
                position += step
            elif self._left:
                expected = b"\r" if self._left == 2 else b"\n"
                if data[position : position + 1] != expected:
                    raise MalformedBodyError("a chunk is longer than its size says")
                self._left -= 1
                position += 1
            else:
                position = self._chunk_line(data, position)
        return position

    def _chunk_line(self, data: bytes, position: int) -> int:
        if not self._held:  # the usual case: the whole line is at hand
            match = _CHUNK_LINE.match(data, position)
            if match is not None:
                self._enter(int(match[1], 16))
                return match.end()
        line, position = self._line(data, position, _CHUNK_LINE_MAX)
        if line is not None:
            match = _CHUNK_LINE.fullmatch(line)
            if match is None:
                raise MalformedBodyError("a chunk's size is not a hexadecimal number")
            self._enter(int(match[1], 16))
        return position

    def _enter(self, size: int) -> None:
        if size:
            self._left = size + 2
        else:
            self._trailing = True

    def _trailer_line(self, data: bytes, position: int) -> int:
        before = position
        line, position = self._line(data, position, _TRAILER_BYTES_MAX)
        self._trailers += position - before
        if self._trailers > _TRAILER_BYTES_MAX:
            raise MalformedBodyError("the trailers are too long")
        if line == b"\r\n":
            self.done = True
        elif line is not None and not _TRAILER_LINE.fullmatch(line[:-2]):
            raise MalformedBodyError("a trailer is not a header field")
        return position

    def _line(self, data: bytes, position: int, limit: int) -> tuple[bytes | None, int]:
        """Return a line that ends in CRLF (or None while incomplete) and the offset after it."""
        newline = data.find(b"\n", position)
        stop = len(data) if newline < 0 else newline + 1
        line = self._held + data[position:stop]
        if len(line) > limit:
            raise MalformedBodyError("a line of the chunked coding is too long")
        if newline < 0:
            self._held = line
            return None, stop
        self._held = b""
        if not line.endswith(b"\r\n"):
            raise MalformedBodyError("a line of the chunked coding ends without CR")
        return line, stop


_NO_BODY = NoBody()


def request_body(head: RequestHead) -> Scanner:
    """Return the scanner for the body of a request."""
    if head.chunked:
        return ChunkedBody()
    if head.content_length:
        return LengthBody(head.content_length)
    return _NO_BODY


def response_body(method: bytes, head: ResponseHead) -> Scanner:
    """Return the scanner for the body of the final response to a request with `method`."""
    status = head.status
    if method == b"HEAD" or status in (204, 304) or status < 200:
        return _NO_BODY
    if head.chunked:
        return ChunkedBody()
    if head.content_length is None:
        return UntilCloseBody()
    return LengthBody(head.content_length) if head.content_length else _NO_BODY
