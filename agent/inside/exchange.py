"""Requests and answers on the session's socket: as much of HTTP/1 as any client's simplest request.

One request on a connection, without a body; the answer ends with the connection. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, timedelta, timezone
from typing import TYPE_CHECKING

from common.wire import encode

if TYPE_CHECKING:
    from datetime import tzinfo

    import msgspec

HEAD_BYTES_MAX = 4096
"""Fields are not looked at; a client that sends more of them has lost its way."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\r?\n")
_ZONE = re.compile(r"\?offset=([+-])(\d\d)([0-5]\d)", re.ASCII)
_HOURS_MAX = 14  # of any place on Earth, east of Greenwich
_HEAD_END = re.compile(rb"\n\r?\n")
_REASONS = {
    200: "OK",
    202: "Accepted",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    409: "Conflict",
    431: "Request Header Fields Too Large",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for."""

    method: str
    target: str
    zone: tzinfo = UTC
    """What the answer is to tell times in."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    content_type: str
    body: bytes
    location: str = ""
    """Where to ask next, if anywhere."""


def text_answer(text: str, *, status: int = 200, location: str = "") -> Answer:
    """Return lines for people; a refusal is one sentence."""
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode(), location)


def json_answer(document: msgspec.Struct) -> Answer:
    return Answer(200, "application/json", encode(document) + b"\n")


def is_head_complete(received: bytes) -> bool:
    """Say whether no more need be read: the head has ended, or is too long."""
    return len(received) >= HEAD_BYTES_MAX or _HEAD_END.search(received) is not None


def parse(head: bytes) -> Request | Answer:
    """Return the request in what was received, or the answer that says what is wrong with it."""
    if _HEAD_END.search(head) is None and len(head) >= HEAD_BYTES_MAX:
        return text_answer(f"The request is longer than {HEAD_BYTES_MAX} bytes.", status=431)
    line = _REQUEST_LINE.match(head)
    if line is None:
        return text_answer("The request is not HTTP/1.", status=400)
    return _request(line[1].decode(), line[2].decode())


def _request(method: str, target: str) -> Request:
    """Take an offset as `date +%z` prints it from the target; anything else stays in it."""
    path, mark, rest = target.partition("?")
    offset = _ZONE.fullmatch(mark + rest)
    if offset is None or int(offset[2]) > _HOURS_MAX:
        return Request(method, target)
    ahead = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
    return Request(method, path, timezone(-ahead if offset[1] == "-" else ahead))


def render(answer: Answer) -> bytes:
    """Return the bytes to send."""
    location = f"Location: {answer.location}\r\n" if answer.location else ""
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"{location}"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
