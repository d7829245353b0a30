"""What a head may look like. The table is the strictness that edge and gateway rely on."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from common.http1.head import (
    HEAD_BYTES_MAX,
    MalformedHeadError,
    find_end,
    parse_request,
    parse_response,
    tokens,
    write_request,
    write_response,
)


def with_fields(fields: bytes, start: bytes = b"GET / HTTP/1.1\r\n") -> bytes:
    return start + b"Host: a\r\n" + fields + b"\r\n"


REFUSED_FIELDS = {
    "CL and TE": (400, b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"),
    "TE and CL": (400, b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"),
    "two CLs": (400, b"Content-Length: 5\r\nContent-Length: 6\r\n"),
    "two equal CLs": (400, b"Content-Length: 5\r\ncontent-length: 5\r\n"),
    "CL list": (400, b"Content-Length: 5, 5\r\n"),
    "CL +3": (400, b"Content-Length: +3\r\n"),
    "CL -3": (400, b"Content-Length: -3\r\n"),
    "CL hex": (400, b"Content-Length: 0x3\r\n"),
    "CL underscore": (400, b"Content-Length: 1_0\r\n"),
    "CL empty": (400, b"Content-Length:\r\n"),
    "CL blank": (400, b"Content-Length: \r\n"),
    "CL overflow": (400, b"Content-Length: 99999999999999999999\r\n"),
    "CL two words": (400, b"Content-Length: 5 5\r\n"),
    "TE xchunked": (400, b"Transfer-Encoding: xchunked\r\n"),
    "TE gzip, chunked": (501, b"Transfer-Encoding: gzip, chunked\r\n"),
    "TE chunked, gzip": (400, b"Transfer-Encoding: chunked, gzip\r\n"),
    "TE chunked twice": (400, b"Transfer-Encoding: chunked, chunked\r\n"),
    "two TEs": (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
    "two TEs, hidden": (400, b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n"),
    "TE identity": (400, b"Transfer-Encoding: identity\r\n"),
    "TE quoted": (400, b'Transfer-Encoding: "chunked"\r\n'),
    "TE vertical tab": (400, b"Transfer-Encoding:\x0bchunked\r\n"),
    "TE space before colon": (400, b"Transfer-Encoding : chunked\r\n"),
    "obs-fold": (400, b"X: a\r\n b\r\n"),
    "obs-fold with tab": (400, b"X: a\r\n\tb\r\n"),
    "space before name": (400, b" X: a\r\n"),
    "bare LF": (400, b"X: a\nY: b\r\n"),
    "bare CR": (400, b"X: a\rY: b\r\n"),
    "CR CR LF": (400, b"X: a\r\r\n"),
    "NUL in value": (400, b"X: a\x00b\r\n"),
    "NUL in name": (400, b"X\x00: a\r\n"),
    "control in value": (400, b"X: a\x01b\r\n"),
    "DEL in value": (400, b"X: a\x7fb\r\n"),
    "no name": (400, b": a\r\n"),
    "no colon": (400, b"X\r\n"),
    "space in name": (400, b"X Y: a\r\n"),
    "parenthesis in name": (400, b"X(: a\r\n"),
    "two Hosts": (400, b"Host: b\r\n"),
    "two equal Hosts": (400, b"host: a\r\n"),
    "two Origins": (400, b"Origin: http://a\r\nOrigin: http://b\r\n"),
    "two Upgrades": (400, b"Upgrade: websocket\r\nUpgrade: h2c\r\n"),
    "two Authorizations": (400, b"Authorization: Bearer a\r\nAuthorization: Bearer b\r\n"),
    "two Sec-Fetch-Sites": (400, b"Sec-Fetch-Site: none\r\nSec-Fetch-Site: same-origin\r\n"),
    "too many fields": (431, b"X: a\r\n" * 200),
}


@pytest.mark.parametrize(("status", "fields"), REFUSED_FIELDS.values(), ids=REFUSED_FIELDS.keys())
def test_a_request_with_fields_that_two_readers_could_read_differently_is_refused(
    status: int, fields: bytes
) -> None:
    with pytest.raises(MalformedHeadError) as refused:
        parse_request(with_fields(fields))
    assert refused.value.status == status


REFUSED_LINES = {
    "HTTP/0.9 without version": (505, b"GET /\r\n"),
    "HTTP/0.9": (505, b"GET / HTTP/0.9\r\n"),
    "HTTP/2.0": (505, b"GET / HTTP/2.0\r\n"),
    "HTTP/1.2": (400, b"GET / HTTP/1.2\r\n"),
    "preface of HTTP/2": (400, b"PRI * HTTP/2.0\r\n"),
    "RTSP": (505, b"GET / RTSP/1.0\r\n"),
    "RTSP method": (505, b"DESCRIBE / RTSP/1.0\r\n"),
    "ICE": (505, b"SOURCE / ICE/1.0\r\n"),
    "lower-case version": (400, b"GET / http/1.1\r\n"),
    "unknown method": (501, b"FOO / HTTP/1.1\r\n"),
    "lower-case method": (501, b"get / HTTP/1.1\r\n"),
    "space in target": (400, b"GET /a b HTTP/1.1\r\n"),
    "tab in target": (400, b"GET /a\tb HTTP/1.1\r\n"),
    "NUL in target": (400, b"GET /a\x00 HTTP/1.1\r\n"),
    "raw bytes in target": (400, b"GET /\xc3\xa9 HTTP/1.1\r\n"),
    "space after version": (400, b"GET / HTTP/1.1 \r\n"),
    "LF after version": (400, b"GET / HTTP/1.1\n"),
    "no target": (400, b"GET  HTTP/1.1\r\n"),
}


@pytest.mark.parametrize(("status", "line"), REFUSED_LINES.values(), ids=REFUSED_LINES.keys())
def test_a_request_line_that_is_not_http_1_is_refused(status: int, line: bytes) -> None:
    with pytest.raises(MalformedHeadError) as refused:
        parse_request(with_fields(b"", line))
    assert refused.value.status == status


def test_a_request_without_a_host_is_refused_unless_it_is_http_1_0() -> None:
    with pytest.raises(MalformedHeadError):
        parse_request(b"GET / HTTP/1.1\r\n\r\n")
    assert parse_request(b"GET / HTTP/1.0\r\n\r\n").minor_version == 0
    with pytest.raises(MalformedHeadError):
        parse_request(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n")


def test_thirty_two_kilobytes_of_cookies_pass() -> None:
    cookies = b"; ".join(b"c%d=%b" % (i, b"v" * 4096) for i in range(8))
    head = parse_request(with_fields(b"Cookie: " + cookies + b"\r\n"))
    assert head.fields[b"cookie"] == cookies
    assert len(cookies) < HEAD_BYTES_MAX


TARGETS = [
    b"/",
    b"/?",
    b"/a?b=c&d",
    b"/a%2Fb%3A%27%25%41",
    b"//a///b",
    b"/%00",
    b"/a/../b/./c",
    b"/a;b=c?d#e",
    b"/~!$&'()*+,=:@[]",
    b'/"<>\\^`{|}',
    b"*",
    b"http://a/b",
]


@pytest.mark.parametrize("target", TARGETS)
def test_the_target_is_kept_as_it_was_sent(target: bytes) -> None:
    method = b"OPTIONS"
    head = parse_request(with_fields(b"", method + b" " + target + b" HTTP/1.1\r\n"))
    assert head.target == target
    assert head.path == target.partition(b"?")[0]
    assert b" " + target + b" " in write_request(head.method, head.target, 1, head.headers)


values = st.text(
    alphabet=st.characters(min_codepoint=0x21, max_codepoint=0xFF, exclude_characters="\x7f"),
    min_size=1,
    max_size=20,
).map(lambda text: text.encode("latin-1"))
names = st.sampled_from([b"X", b"x-Y", b"Accept", b"!#$%&'*+-.^_`|~9", b"Cookie", b"X"])


@given(st.lists(st.tuples(names, values), max_size=8))
def test_a_head_written_again_says_the_same(headers: list[tuple[bytes, bytes]]) -> None:
    everything = [(b"Host", b"a"), *headers]
    data = write_request(b"POST", b"/x", 1, everything)
    head = parse_request(data)
    assert head.headers == everything
    assert write_request(head.method, head.target, head.minor_version, head.headers) == data
    assert head.all(b"x") == [value for name, value in headers if name == b"X"]
    assert head.fields[b"host"] == b"a"


@pytest.mark.parametrize(
    ("fields", "minor", "expected"),
    [
        (b"", 1, True),
        (b"", 0, False),
        (b"Connection: close\r\n", 1, False),
        (b"Connection: Close\r\n", 1, False),
        (b"Connection: x, close\r\n", 1, False),
        (b"Connection: keep-alive\r\nConnection: close\r\n", 1, False),
        (b"Connection: keep-alive\r\n", 0, True),
        (b"Connection: x\r\nConnection: Keep-Alive\r\n", 0, True),
        (b"Connection: keep-alive, close\r\n", 0, False),
    ],
)
def test_whether_a_connection_stays_open(fields: bytes, minor: int, expected: bool) -> None:
    request = parse_request(with_fields(fields, b"GET / HTTP/1.%d\r\n" % minor))
    assert request.keep_alive is expected
    response = parse_response(b"HTTP/1.%d 200 OK\r\n%b\r\n" % (minor, fields))
    assert response.keep_alive is expected


@pytest.mark.parametrize(
    ("start", "fields", "expected"),
    [
        (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", True),
        (b"GET / HTTP/1.1", b"Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n", True),
        (
            b"GET / HTTP/1.1",
            b"Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n",
            True,
        ),
        (b"GET / HTTP/1.1", b"Upgrade: websocket\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: Upgrade\r\n", False),
        (b"GET / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: h2c\r\n", False),
        (b"POST / HTTP/1.1", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", False),
        (b"GET / HTTP/1.0", b"Connection: Upgrade\r\nUpgrade: websocket\r\n", False),
    ],
)
def test_what_asks_for_a_websocket(start: bytes, fields: bytes, expected: bool) -> None:
    assert parse_request(with_fields(fields, start + b"\r\n")).is_websocket is expected


REFUSED_RESPONSES = {
    "CL and TE": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
    "two CLs": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
    "TE gzip, chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    "chunked not last": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
    "two TEs": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
    "HTTP/1.0 chunked": b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "bare LF": b"HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: b\r\n\r\n",
    "bare CR": b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\n\r\n",
    "obs-fold": b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
    "NUL": b"HTTP/1.1 200 OK\r\nX: a\x00\r\n\r\n",
    "status 0": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 99": b"HTTP/1.1 099 OK\r\n\r\n",
    "status of two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "NUL in reason": b"HTTP/1.1 200 O\x00K\r\n\r\n",
    "CR in reason": b"HTTP/1.1 200 O\rK\r\n\r\n",
    "escape in reason": b"HTTP/1.1 200 O\x1bK\r\n\r\n",
    "RTSP": b"RTSP/1.0 200 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2.0 200 OK\r\n\r\n",
    "a greeting": b"SSH-2.0-OpenSSH_9\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\n\r\n",
    "nothing": b"\r\n\r\n",
}


@pytest.mark.parametrize("data", REFUSED_RESPONSES.values(), ids=REFUSED_RESPONSES.keys())
def test_a_response_that_two_readers_could_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedHeadError):
        parse_response(data)


@pytest.mark.parametrize("status", [100, 103, 200, 206, 226, 299, 418, 451, 599, 999])
def test_statuses_and_reasons_pass_unchanged(status: int) -> None:
    head = parse_response(b"HTTP/1.1 %d Made Up \xe9\r\n\r\n" % status)
    assert (head.status, head.reason) == (status, b"Made Up \xe9")
    assert write_response(head.status, head.reason, []).startswith(b"HTTP/1.1 %d Made" % status)
    assert parse_response(b"HTTP/1.1 %d\r\n\r\n" % status).reason == b""


def test_a_switch_of_protocols_is_parsed_with_and_without_its_fields() -> None:
    upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    assert parse_response(b"HTTP/1.1 101 X\r\n" + upgrade + b"\r\n").status == 101
    head = parse_response(b"HTTP/1.1 101 X\r\n" + upgrade + b"Content-Length: 0\r\n\r\n")
    assert head.status == 101


@given(st.binary(max_size=300))
def test_any_bytes_parse_or_are_refused_and_nothing_else(data: bytes) -> None:
    for parse in (parse_request, parse_response):
        for bytes_ in (data + b"\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n"):
            with suppress(MalformedHeadError):
                parse(bytes_)


def test_the_end_of_a_head_is_found_wherever_the_search_begins() -> None:
    head = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    for start in range(len(head) - 1):
        assert find_end(head + b"body", start) == len(head)
    assert find_end(head[:-1], 0) == -1


def test_tokens_are_lower_case_and_trimmed() -> None:
    assert tokens(b"Keep-Alive , \tX-A,,close") == [b"keep-alive", b"x-a", b"", b"close"]
