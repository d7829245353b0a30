"""Heads of HTTP/1.1 messages: parsed strictly, checked, and written again.

llhttp (through httptools) does the parsing, without any of its leniencies: it refuses bare LF,
obs-fold, repeated or signed Content-Length, Content-Length beside Transfer-Encoding, any
transfer coding that doesn't end in `chunked`, and control characters in values. What it lets pass
and a proxy must not (a second Host, HTTP/0.9, `gzip, chunked`) is refused here.

Heads are cut from the stream by searching for the empty line before anything is parsed, so the
bytes after it are known exactly. Bodies never pass through llhttp, see `framing`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import httptools

Headers = list[tuple[bytes, bytes]]

HEAD_BYTES_MAX = 64 * 1024
"""Room for 32 kB of cookies, which single sign-on in front of real sites does produce."""

_HEADERS_MAX = 200
_END = b"\r\n\r\n"
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_ONCE = frozenset(
    (b"host", b"origin", b"upgrade", b"sec-fetch-site", b"sec-fetch-mode", b"authorization")
)
"""Fields that we or a server decide by: two values would let two readers decide differently."""
_ONCE_IN_RESPONSES = frozenset((b"transfer-encoding",))
"""llhttp refuses a second one in requests only."""


_IDEMPOTENT = frozenset((b"GET", b"HEAD", b"OPTIONS"))
"""Methods sent once more after a stale connection. PUT and DELETE are idempotent by the RFC, but
applications don't always keep to it, and nothing is won by the risk."""


class MalformedHeadError(Exception):
    """A head that no strict reader accepts: `status` and a sentence for the one who sent it."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(slots=True)
class RequestHead:
    """A valid request head. `fields` has lower-case names and the first value of each.

    Only `connection` holds the values of all fields of that name, because we act on each of them.
    """

    method: bytes
    target: bytes
    """As the client sent it, never decoded or normalised."""
    minor_version: int
    headers: Headers
    """In order, names and values as sent."""
    fields: dict[bytes, bytes]
    keep_alive: bool
    content_length: int | None
    chunked: bool

    @property
    def path(self) -> bytes:
        """The target up to the query."""
        return self.target.partition(b"?")[0]

    @property
    def is_websocket(self) -> bool:
        upgrade = self.fields.get(b"upgrade")
        return (
            upgrade is not None
            and upgrade.strip().lower() == b"websocket"
            and self.method == b"GET"
            and self.minor_version == 1
            and b"upgrade" in tokens(self.fields.get(b"connection", b""))
        )

    @property
    def may_be_repeated(self) -> bool:
        """Whether it may be sent once more after a stale connection."""
        return self.method in _IDEMPOTENT and not self.content_length and not self.chunked

    def all(self, name: bytes) -> list[bytes]:
        """Every value of the field with this lower-case name, in order."""
        return [value for key, value in self.headers if key.lower() == name]


@dataclass(slots=True)
class ResponseHead:
    """A valid response head; fields as in `RequestHead`."""

    status: int
    reason: bytes
    minor_version: int
    headers: Headers
    fields: dict[bytes, bytes]
    keep_alive: bool
    content_length: int | None
    chunked: bool


def tokens(value: bytes) -> list[bytes]:
    """Split a comma-separated field value into lower-case tokens."""
    return [token.strip() for token in value.lower().split(b",")]


def find_end(buffer: bytes | bytearray, start: int = 0) -> int:
    """Return the offset just after the head's empty line, or -1; `start` skips what was searched.

    A buffer that starts with empty lines has no head before them: strip those first.
    """
    found = buffer.find(_END, max(0, start - 3))
    return found + 4 if found >= 0 else -1


class _Collector:
    """Takes llhttp's callbacks. `first` is the target of a request, the reason of a response."""

    __slots__ = ("first", "headers")

    def __init__(self) -> None:
        self.first = b""
        self.headers: Headers = []

    def on_url(self, part: bytes) -> None:
        self.first += part

    on_status = on_url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name, value))


def parse_request(data: bytes) -> RequestHead:
    """Parse one whole request head, `data` ending with its empty line."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserInvalidMethodError:
        raise MalformedHeadError(501, "The request's method is not an HTTP method.") from None
    except httptools.HttpParserError as error:
        raise MalformedHeadError(400, f"The request is malformed: {error}.") from None
    headers = collector.headers
    minor = _minor_version(data[: data.index(b"\r\n")][-9:])
    if len(headers) > _HEADERS_MAX:
        raise MalformedHeadError(431, f"The request has more than {_HEADERS_MAX} header fields.")
    fields = _by_name(headers, _ONCE)
    if b"host" not in fields and minor == 1:
        raise MalformedHeadError(400, "The request has no Host field.")
    length, chunked = _body_fields(fields, minor)
    return RequestHead(
        method=parser.get_method(),
        target=collector.first,
        minor_version=minor,
        headers=headers,
        fields=fields,
        keep_alive=_keep_alive(fields, minor),
        content_length=length,
        chunked=chunked,
    )


def parse_response(data: bytes) -> ResponseHead:
    """Parse one whole response head, `data` ending with its empty line."""
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade:
        pass
    except httptools.HttpParserError as error:
        raise MalformedHeadError(502, f"The response is malformed: {error}.") from None
    headers = collector.headers
    minor = _minor_version(b" " + data[:8])
    fields = _by_name(headers, _ONCE_IN_RESPONSES)
    status = parser.get_status_code()
    if status < 100 or not _REASON.fullmatch(collector.first):
        raise MalformedHeadError(502, "The response's first line is malformed.")
    length, chunked = _body_fields(fields, minor)
    return ResponseHead(
        status=status,
        reason=collector.first,
        minor_version=minor,
        headers=headers,
        fields=fields,
        keep_alive=_keep_alive(fields, minor),
        content_length=length,
        chunked=chunked,
    )


def write_request(method: bytes, target: bytes, minor_version: int, headers: Headers) -> bytes:
    """Return the bytes of a request head."""
    first = b"%b %b HTTP/1.%d" % (method, target, minor_version)
    return b"\r\n".join((first, *map(b": ".join, headers), b"", b""))


def write_response(status: int, reason: bytes, headers: Headers) -> bytes:
    """Return the bytes of a response head; we always speak HTTP/1.1."""
    first = b"HTTP/1.1 %d %b" % (status, reason)
    return b"\r\n".join((first, *map(b": ".join, headers), b"", b""))


def _by_name(headers: Headers, once: frozenset[bytes]) -> dict[bytes, bytes]:
    fields: dict[bytes, bytes] = {}
    for name, value in headers:
        key = name.lower()
        if key not in fields:
            fields[key] = value
        elif key in once:
            raise MalformedHeadError(400, f"The field {key.decode()} is repeated.")
        elif key == b"connection":
            fields[key] += b"," + value
    return fields


def _minor_version(version: bytes) -> int:
    # llhttp also reads RTSP and ICE, and tells the number only.
    if version == b" HTTP/1.1":
        return 1
    if version == b" HTTP/1.0":
        return 0
    raise MalformedHeadError(505, "Only HTTP/1.1 and HTTP/1.0 are understood here.")


def _keep_alive(fields: dict[bytes, bytes], minor: int) -> bool:
    connection = fields.get(b"connection")
    if connection is None:
        return minor == 1
    named = tokens(connection)
    return b"close" not in named and (minor == 1 or b"keep-alive" in named)


def _body_fields(fields: dict[bytes, bytes], minor: int) -> tuple[int | None, bool]:
    coding = fields.get(b"transfer-encoding")
    if coding is not None:
        if coding.strip().lower() != b"chunked" or minor == 0:
            raise MalformedHeadError(501, "The only transfer coding understood here is chunked.")
        return None, True
    length = fields.get(b"content-length")
    return (None, False) if length is None else (int(length), False)
