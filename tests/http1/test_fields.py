"""What an intermediary must not pass on."""

from __future__ import annotations

import pytest

from common.http1.fields import end_to_end
from common.http1.head import parse_request


def passed_on(*fields: bytes, drop: frozenset[bytes] = frozenset()) -> list[bytes]:
    data = b"\r\n".join([b"POST / HTTP/1.1", b"Host: a", *fields, b"", b""])
    return [b"%b: %b" % header for header in end_to_end(parse_request(data), drop)]


@pytest.mark.parametrize(
    "field",
    [
        b"Connection: close",
        b"Keep-Alive: timeout=5",
        b"Proxy-Authenticate: Basic",
        b"PROXY-AUTHORIZATION: Basic eA==",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers",
        b"Upgrade: h2c",
    ],
)
def test_hop_by_hop_fields_end_here(field: bytes) -> None:
    assert passed_on(field, b"X: 1") == [b"Host: a", b"X: 1"]


def test_fields_named_by_connection_end_here_also_when_it_is_repeated() -> None:
    fields = passed_on(b"Connection: x-a, X-B", b"X-A: 1", b"x-b: 2", b"Connection: X-C", b"X-C: 3")
    assert fields == [b"Host: a"]


@pytest.mark.parametrize(
    "field", [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Cookie: a=b"]
)
def test_connection_can_not_remove_framing_routing_or_cookies(field: bytes) -> None:
    name = field.partition(b":")[0]
    assert passed_on(b"Connection: host, " + name.lower(), field) == [b"Host: a", field]


def test_the_rest_stays_in_order_byte_for_byte() -> None:
    fields = [b"b: 1", b"A:  2", b"b: 3", b"Trailer: x", b"Authorization: tool"]
    assert passed_on(*fields) == [b"Host: a", b"b: 1", b"A: 2", *fields[2:]]


def test_what_the_caller_drops_is_dropped_in_any_spelling() -> None:
    assert passed_on(b"X-A: 1", b"x-a: 2", b"X-B: 3", drop=frozenset((b"x-a",))) == [
        b"Host: a",
        b"X-B: 3",
    ]
