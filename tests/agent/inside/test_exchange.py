"""The little of HTTP that is spoken with the session."""

from __future__ import annotations

from datetime import timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from agent.inside.exchange import (
    HEAD_BYTES_MAX,
    Answer,
    Request,
    is_head_complete,
    parse,
    render,
    text_answer,
)

HEADS = [
    (b"GET /status HTTP/1.0\r\n\r\n", Request("GET", "/status")),
    (b"GET /status HTTP/1.1\r\nHost: studio\r\nAccept: */*\r\n\r\n", Request("GET", "/status")),
    (
        b"GET /status?offset=+0530 HTTP/1.0\r\n\r\n",
        Request("GET", "/status", timezone(timedelta(hours=5, minutes=30))),
    ),
    (
        b"POST /save?offset=-0300 HTTP/1.0\r\n\r\n",
        Request("POST", "/save", timezone(-timedelta(hours=3))),
    ),
    (b"POST /extend HTTP/1.1\nHost: studio\n\n", Request("POST", "/extend")),
]


@pytest.mark.parametrize(("head", "expected"), HEADS)
def test_what_clients_send_is_understood(head: bytes, expected: Request) -> None:
    assert is_head_complete(head)
    assert parse(head) == expected


@pytest.mark.parametrize(("head", "expected"), HEADS)
def test_head_is_complete_at_its_last_byte_and_not_before(head: bytes, expected: Request) -> None:
    assert [is_head_complete(head[:size]) for size in range(len(head))] == [False] * len(head)


@pytest.mark.parametrize(
    "head",
    [
        b"\r\n\r\n",
        b"GET /status\r\n\r\n",
        b"GET /status HTTP/2\r\n\r\n",
        b"get /status HTTP/1.0\r\n\r\n",
        b"GET status HTTP/1.0\r\n\r\n",
        b"GET /sta\x00tus HTTP/1.0\r\n\r\n",
        b"GET /st\xc3\xa4tus HTTP/1.0\r\n\r\n",
        b" GET /status HTTP/1.0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\n\n",
        b"GET /status HT",
    ],
)
def test_what_is_no_request_is_refused(head: bytes) -> None:
    answer = parse(head)
    assert isinstance(answer, Answer)
    assert answer.status == 400


def test_request_without_an_end_is_refused_at_the_limit() -> None:
    head = b"GET /status HTTP/1.0\r\nX: ".ljust(HEAD_BYTES_MAX, b"x")
    assert not is_head_complete(head[:-1])
    assert is_head_complete(head)
    answer = parse(head)
    assert isinstance(answer, Answer)
    assert answer.status == 431


@given(st.binary(max_size=HEAD_BYTES_MAX))
def test_any_bytes_get_a_request_or_an_answer_that_can_be_sent(head: bytes) -> None:
    parsed = parse(head)
    if isinstance(parsed, Answer):
        assert render(parsed).startswith(b"HTTP/1.1 4")


def test_answer_says_where_it_ends() -> None:
    assert render(text_answer("Größe")) == (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 8\r\nConnection: close\r\n\r\nGr\xc3\xb6\xc3\x9fe\n"
    )


@pytest.mark.parametrize(
    "query",
    ["?offset=", "?offset=+2", "?offset=+1500", "?offset=+0260", "?offset=+0200&x=1", "?x", "?"],
)
def test_offset_that_is_none_stays_in_the_target(query: str) -> None:
    head = f"GET /status{query} HTTP/1.0\r\n\r\n".encode()
    assert parse(head) == Request("GET", f"/status{query}")


def test_answer_says_where_to_ask_next() -> None:
    assert b"\r\nLocation: /saves/1\r\n" in render(
        text_answer("Soon.", status=202, location="/saves/1")
    )
    assert b"Location" not in render(text_answer("Now."))
