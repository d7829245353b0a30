"""Requests and answers that are too many, too long, malformed, early or cut short."""

from __future__ import annotations

import asyncio

import pytest

from common.http1.head import HEAD_BYTES_MAX
from common.http1.relay import LINGER_SECONDS_MAX
from common.http1.replies import Reply
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX
from tests.support.conversation import GET, OK, Conversation, FakeSite, post, status, turn_over

# ── pipelining ──────────────────────────────────────────────────────────────────


async def test_ten_thousand_pipelined_requests_are_all_answered_one_a_turn(
    talk: Conversation,
) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    talk.site.decision = lambda _: Reply(401)
    flood = GET * 9000
    talk.client.feed(flood[:250_000])
    talk.client.feed(flood[250_000:])
    assert talk.client.sent.count(b"HTTP/1.1 401") < 5, "others have to wait for the whole flood"
    while talk.client.sent.count(b"HTTP/1.1 401") < 9000:
        before = len(talk.client.sent)
        await asyncio.sleep(0)
        assert len(talk.client.sent) > before
    assert talk.client.is_reading()


@pytest.mark.parametrize("answered_here", [True, False])
async def test_a_flood_of_requests_is_read_no_further_than_a_limit(answered_here: bool) -> None:
    talk = Conversation(FakeSite())
    if answered_here:
        talk.site.decision = lambda _: Reply(401)
    for _ in range(100):
        talk.client.feed(GET * 1000)
    held = len(talk.downstream._buffer)
    assert held <= WRITE_BUFFER_BYTES_MAX + len(GET) * 1000
    assert talk.client.waiting > 1_000_000


async def test_requests_after_a_closing_one_are_not_answered(talk: Conversation) -> None:
    last = GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    talk.client.feed(last + GET)
    talk.tool.feed(OK)
    await turn_over()
    assert talk.client.sent.count(b"200 OK") == 1
    assert talk.client.is_closing()
    assert len(talk.site.heads) == 1


# ── heads ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("piece", [1 << 20, 1000])
async def test_a_head_of_exactly_the_limit_passes_and_one_byte_more_gets_431(piece: int) -> None:
    for extra, expected in ((0, None), (1, 431)):
        talk = Conversation(FakeSite())
        start = GET[:-2] + b"Cookie: "
        head = start + b"c" * (HEAD_BYTES_MAX + extra - len(start) - 4) + b"\r\n\r\n"
        for i in range(0, len(head), piece):
            talk.client.feed(head[i : i + piece])
        assert (status(talk) if talk.client.sent else None) == expected
        assert bool(talk.site.heads) is (expected is None)


async def test_a_head_that_never_ends_gets_431_before_it_fills_memory(talk: Conversation) -> None:
    for _ in range(70):
        talk.client.feed(b"x" * 1024)
    assert status(talk) == 431
    assert talk.client.eof_sent


@pytest.mark.parametrize("piece", [1 << 20, 1000])
async def test_a_response_head_that_is_too_long_gets_502(talk: Conversation, piece: int) -> None:
    talk.client.feed(GET)
    head = b"HTTP/1.1 200 OK\r\nX: " + b"x" * HEAD_BYTES_MAX + b"\r\n\r\n"
    for i in range(0, len(head), piece):
        talk.tool.feed(head[i : i + piece])
    assert status(talk) == 502
    assert talk.tool.aborted


@pytest.mark.parametrize(
    "garbage",
    [b"SSH-2.0-OpenSSH\r\n\r\n", b"\0" * 70_000, b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n\r\n"],
)
async def test_a_tool_that_answers_garbage_gets_no_second_request(
    talk: Conversation, garbage: bytes
) -> None:
    talk.client.feed(GET)
    talk.tool.feed(garbage)
    await turn_over()
    assert status(talk) == 502
    assert len(talk.site.lane.tools) == 1
    assert talk.tool.aborted


async def test_a_head_refused_says_why_and_closes(talk: Conversation) -> None:
    talk.client.feed(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + GET)
    assert status(talk) == 400
    assert b"Connection: close" in talk.client.sent
    assert talk.client.eof_sent
    assert talk.site.failures[0][0] == 400
    assert not talk.site.heads


# ── bodies ──────────────────────────────────────────────────────────────────────


async def test_a_request_body_that_breaks_the_coding_ends_both_sides(talk: Conversation) -> None:
    talk.client.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe")
    talk.client.feed(b"llo\r\nZZ\r\n")
    await turn_over()
    assert status(talk) == 400
    assert talk.tool.aborted
    assert b"ZZ" not in talk.tool.sent


async def test_a_response_body_that_breaks_the_coding_is_seen_as_cut(talk: Conversation) -> None:
    talk.client.feed(GET)
    talk.tool.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    talk.tool.feed(b"oops\r\n")
    await turn_over()
    assert talk.client.sent.endswith(b"hello\r\n")
    assert talk.client.aborted
    assert talk.tool.aborted


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 10\r\n", b"Transfer-Encoding: chunked\r\n"],
    ids=["length", "chunked"],
)
async def test_a_response_cut_short_is_seen_as_cut_short(talk: Conversation, head: bytes) -> None:
    talk.client.feed(GET)
    talk.tool.feed(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n5\r\nhel")
    talk.tool.feed_eof()
    await turn_over()
    assert talk.client.aborted
    assert len(talk.site.lane.tools) == 1


async def test_a_response_until_close_that_is_reset_is_seen_as_cut_short(
    talk: Conversation,
) -> None:
    talk.client.feed(GET)
    talk.tool.feed(b"HTTP/1.1 200 OK\r\n\r\nhalf")
    talk.tool.break_off(ConnectionResetError())
    await turn_over()
    assert talk.client.aborted


async def test_an_answer_before_the_body_ended_leaves_the_connection_in_step(
    talk: Conversation,
) -> None:
    talk.client.feed(post(10, b"half."))
    talk.tool.feed(OK)
    assert talk.client.sent == OK
    await turn_over()
    assert talk.tool.aborted, "its other half would be read as a request"
    talk.client.feed(b"other")
    talk.client.feed(GET)
    talk.tool.feed(OK)
    assert talk.client.sent == OK + OK
    assert [head.method for head in talk.site.heads] == [b"POST", b"GET"]
    assert len(talk.site.lane.tools) == 2


async def test_the_rest_of_a_body_answered_early_is_read_for_a_while_only(
    talk: Conversation,
) -> None:
    talk.client.feed(post(10, b"half."))
    talk.tool.feed(OK)
    now = asyncio.get_running_loop().time()
    assert now < talk.downstream.deadline <= now + LINGER_SECONDS_MAX
    talk.downstream.expire()
    assert talk.client.is_closing()


async def test_a_tool_that_answers_early_is_not_trusted_with_the_next_request(
    talk: Conversation,
) -> None:
    talk.client.feed(post(10, b"half."))
    talk.tool.feed(OK[:-1])
    talk.client.feed(b"other")
    talk.tool.feed(OK[-1:])
    await turn_over()
    assert talk.client.sent == OK
    assert talk.site.lane.idle == []
    assert talk.tool.is_closing()


async def test_a_reply_made_here_swallows_a_body_that_came_whole(talk: Conversation) -> None:
    talk.site.decision = lambda head: Reply(401) if head.method == b"POST" else None
    talk.client.feed(post(5, b"hello") + GET)
    await turn_over()
    talk.tool.feed(OK)
    assert talk.client.sent.startswith(b"HTTP/1.1 401")
    assert talk.client.sent.endswith(OK)
    assert not talk.client.eof_sent


@pytest.mark.parametrize("rest", [b"GET ", b"", b"5\r\nhello\r\nZZ"])
async def test_a_reply_made_here_to_a_body_that_did_not_come_whole_closes(
    talk: Conversation, rest: bytes
) -> None:
    talk.site.decision = lambda _: Reply(401)
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    talk.client.feed((chunked if rest.startswith(b"5") else post(9)) + rest)
    talk.client.feed(GET * 10)
    assert talk.client.sent.count(b"HTTP/1.1") == 1
    assert b"Connection: close" in talk.client.sent
    assert talk.client.eof_sent, "the response is read before what it doesn't want is reset"
    assert not talk.client.is_closing()
    talk.client.feed_eof()
    await turn_over()
    assert talk.client.is_closing()


async def test_replies_to_head_have_no_body(talk: Conversation) -> None:
    talk.site.decision = lambda _: Reply(404, body=b"nothing here")
    talk.client.feed(GET.replace(b"GET", b"HEAD"))
    assert talk.client.sent.endswith(b"Content-Length: 12\r\n\r\n")


async def test_the_chunked_coding_is_not_sent_to_an_http_1_0_client(talk: Conversation) -> None:
    talk.client.feed(GET.replace(b"1.1", b"1.0"))
    talk.tool.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert status(talk) == 502


@pytest.mark.parametrize("interim", [b"100 Continue", b"103 Early Hints", b"199 Odd"])
async def test_interim_responses_can_not_carry_framing(talk: Conversation, interim: bytes) -> None:
    talk.client.feed(GET)
    framing = b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n"
    for field in framing.splitlines(keepends=True):
        talk.tool.feed(b"HTTP/1.1 %b\r\nX: 1\r\nConnection: close\r\n%b\r\n" % (interim, field))
    talk.tool.feed(OK)
    expected = b"HTTP/1.1 %b\r\nX: 1\r\n\r\n" % interim
    assert talk.client.sent == expected * 2 + OK
