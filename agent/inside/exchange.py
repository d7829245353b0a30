"""Requests and answers on the session's socket: as much of HTTP/1 as any client's simplest request.

One request on a connection, without a body; the answer ends with the connection. Pure.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.wire import encode

if TYPE_CHECKING:
    import msgspec

HEAD_BYTES_MAX = 4096
"""Fields are not looked at; a client that sends more of them has lost its way."""

_REQUEST_LINE = re.compile(rb"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.[01]\r?\n")
_HEAD_END = re.compile(rb"\n\r?\n")
_REASONS = {
    200: "OK",
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


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back."""

    status: int
    content_type: str
    body: bytes


def text_answer(text: str, *, status: int = 200) -> Answer:
    """Return lines for people; a refusal is one sentence."""
    return Answer(status, "text/plain; charset=utf-8", f"{text}\n".encode())


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
    return Request(line[1].decode(), line[2].decode())


def render(answer: Answer) -> bytes:
    """Return the bytes to send."""
    head = (
        f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\n"
        f"Content-Type: {answer.content_type}\r\n"
        f"Content-Length: {len(answer.body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + answer.body
