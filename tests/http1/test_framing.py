"""Where bodies end: every split, against a reference that reads the whole body at once."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings, strategies as st

from common.http1.framing import (
    ChunkedBody,
    LengthBody,
    MalformedBodyError,
    NoBody,
    Scanner,
    UntilCloseBody,
    request_body,
    response_body,
)
from common.http1.head import parse_request, parse_response

NEXT = b"GET /next HTTP/1.1\r\n\r\n"


def scan_in_pieces(scanner: Scanner, pieces: list[bytes]) -> int:
    """Feed pieces one after the other; return how many bytes belonged to the body."""
    total = 0
    for piece in pieces:
        if scanner.done:
            break
        taken = scanner.scan(piece)
        assert taken == len(piece) or scanner.done
        total += taken
    return total


def reference_end(body: bytes) -> int | None:
    """Return where a well-formed chunked body ends, None if there is none."""
    position = 0
    while True:
        match = re.compile(rb"([0-9a-fA-F]{1,15})\r\n").match(body, position)
        if match is None:
            return None
        position = match.end()
        size = int(match[1], 16)
        if size == 0:
            break
        if body[position + size : position + size + 2] != b"\r\n":
            return None
        position += size + 2
    trailing = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[^\x00\r\n]*\r\n)*\r\n")
    end = trailing.match(body, position)
    return end.end() if end is not None else None


chunks = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
trailers = st.lists(st.sampled_from([b"X-Sum: 1", b"A:", b"b!: \xff y "]), max_size=3)


def chunked(parts: list[bytes], trailing: list[bytes], *, upper: bool = False) -> bytes:
    size = b"%X\r\n" if upper else b"%x\r\n"
    body = b"".join(size % len(part) + part + b"\r\n" for part in parts)
    return body + b"0\r\n" + b"".join(line + b"\r\n" for line in trailing) + b"\r\n"


@given(chunks, trailers, st.booleans(), st.data())
@settings(deadline=None)
def test_a_chunked_body_ends_at_the_same_byte_however_it_is_cut(
    parts: list[bytes], trailing: list[bytes], upper: bool, data: st.DataObject
) -> None:
    body = chunked(parts, trailing, upper=upper)
    assert reference_end(body + NEXT) == len(body)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    edges = [0, *cuts, len(body + NEXT)]
    whole = body + NEXT
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    scanner = ChunkedBody()
    assert scan_in_pieces(scanner, pieces) == len(body)
    assert scanner.done


def test_a_chunked_body_ends_at_the_same_byte_at_every_split_and_byte_by_byte() -> None:
    body = chunked([b"hello", b"\r\n0\r\n\r\n", b"x" * 300], [b"X-Sum: 1", b"Y: 2"])
    whole = body + NEXT
    for cut in range(len(whole) + 1):
        assert scan_in_pieces(ChunkedBody(), [whole[:cut], whole[cut:]]) == len(body), cut
    single = [whole[i : i + 1] for i in range(len(whole))]
    assert scan_in_pieces(ChunkedBody(), single) == len(body)


MALFORMED = {
    "empty size": b"\r\n",
    "no digits": b"g\r\n",
    "sign": b"+5\r\nhello\r\n",
    "minus": b"-5\r\n",
    "0x": b"0x5\r\nhello\r\n",
    "underscore": b"1_0\r\n",
    "space before": b" 5\r\nhello\r\n",
    "space after": b"5 \r\nhello\r\n",
    "extension": b"5;a=b\r\nhello\r\n",
    "empty extension": b"5;\r\nhello\r\n",
    "bare LF": b"5\nhello\r\n",
    "bare CR": b"5\rhello\r\n",
    "CR in line": b"5\r\r\nhello",
    "NUL": b"5\x00\r\nhello",
    "full-width digit": b"\xef\xbc\x95\r\n",
    "sixteen digits": b"0000000000000005\r\nhello",
    "overflow": b"ffffffffffffffffff\r\n",
    "chunk too long": b"5\r\nhello!\r\n",
    "chunk ends in LF": b"5\r\nhello\n0\r\n\r\n",
    "chunk ends in CR and more": b"5\r\nhello\rX",
    "chunk too short": b"5\r\nhell\r\n0\r\n",
    "last chunk with extension": b"0;x\r\n\r\n",
    "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer folded": b"0\r\nX: a\r\n b\r\n\r\n",
    "trailer with space in name": b"0\r\nX : a\r\n\r\n",
    "trailer with bare LF": b"0\r\nX: a\n\r\n",
    "trailer with CR": b"0\r\nX: a\rb\r\n\r\n",
    "trailer with NUL": b"0\r\nX: a\x00b\r\n\r\n",
    "trailer without name": b"0\r\n: a\r\n\r\n",
    "end with bare LF": b"0\r\n\n",
    "request instead of end": b"0\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_chunked_body_is_refused_at_every_split(body: bytes) -> None:
    padded = body + b"A" * 20  # no split may wait for more
    for cut in range(len(body) + 1):
        pieces = [padded[:cut], padded[cut:]]
        with pytest.raises(MalformedBodyError):
            scan_in_pieces(ChunkedBody(), pieces)


pieces_of_chunks = st.lists(
    st.sampled_from(
        [b"0", b"5", b"\r\n", b"\r", b"\n", b"hello", b"X: a", b";", b" ", b"1\r\na\r\n"]
    ),
    max_size=12,
).map(b"".join)


@given(pieces_of_chunks | st.binary(max_size=40), st.integers(0, 60))
@settings(max_examples=500)
def test_what_is_a_whole_body_agrees_with_the_reference(body: bytes, cut: int) -> None:
    scanner = ChunkedBody()
    try:
        taken = scan_in_pieces(scanner, [body[:cut], body[cut:]])
    except MalformedBodyError:
        taken = -1
    assert reference_end(body) == (taken if scanner.done else None)


@pytest.mark.parametrize(
    "pieces",
    [
        [b"0"] * 18,
        [b"0\r\nX: ", *[b"a" * 1000] * 17],
        [b"0\r\n", *[b"X: " + b"a" * 1000 + b"\r\n"] * 17],
    ],
    ids=["chunk line", "one trailer", "many trailers"],
)
def test_lines_that_never_end_are_refused_early(pieces: list[bytes]) -> None:
    with pytest.raises(MalformedBodyError, match="too long"):
        scan_in_pieces(ChunkedBody(), pieces)


@given(st.integers(1, 200), st.lists(st.integers(0, 60), max_size=10))
def test_a_body_with_a_length_takes_exactly_that_many_bytes(length: int, sizes: list[int]) -> None:
    scanner = LengthBody(length)
    pieces = [b"x" * size for size in sizes] + [b"x" * length]
    assert scan_in_pieces(scanner, pieces) == length
    assert scanner.done


def test_a_body_until_close_takes_everything_and_never_ends_by_itself() -> None:
    scanner = UntilCloseBody()
    assert scanner.scan(b"abc") == 3
    assert not scanner.done


def _request(*fields: str) -> Scanner:
    lines = ["POST / HTTP/1.1", "Host: a", *fields, "", ""]
    return request_body(parse_request("\r\n".join(lines).encode()))


def _response(status: int, *fields: str, method: bytes = b"GET") -> Scanner:
    lines = [f"HTTP/1.1 {status} X", *fields, "", ""]
    return response_body(method, parse_response("\r\n".join(lines).encode()))


@pytest.mark.parametrize(
    ("scanner", "kind"),
    [
        (_request(), NoBody),
        (_request("Content-Length: 0"), NoBody),
        (_request("Content-Length: 5"), LengthBody),
        (_request("Transfer-Encoding: chunked"), ChunkedBody),
        (_request("Transfer-Encoding: Chunked"), ChunkedBody),
        (_response(200), UntilCloseBody),
        (_response(200, "Content-Length: 0"), NoBody),
        (_response(200, "Content-Length: 7"), LengthBody),
        (_response(200, "Transfer-Encoding: chunked"), ChunkedBody),
        (_response(599, "Content-Length: 7"), LengthBody),
        (_response(204), NoBody),
        (_response(204, "Transfer-Encoding: chunked"), NoBody),
        (_response(304, "Content-Length: 7"), NoBody),
        (_response(103), NoBody),
        (_response(200, "Content-Length: 7", method=b"HEAD"), NoBody),
        (_response(200, "Transfer-Encoding: chunked", method=b"HEAD"), NoBody),
        (_response(200, method=b"HEAD"), NoBody),
    ],
)
def test_the_head_tells_where_the_body_ends(scanner: Scanner, kind: type) -> None:
    assert type(scanner) is kind
    if kind is NoBody:
        assert scanner.done
        assert scanner.scan(b"next") == 0
