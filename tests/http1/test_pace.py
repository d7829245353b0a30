"""Sides that are slow, and how long each is waited for."""

from __future__ import annotations

import asyncio

import pytest

from common.http1.intake import HEAD_SECONDS_MAX
from common.http1.relay import LINGER_SECONDS_MAX
from common.http1.site import PATIENT
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX
from tests.support.conversation import GET, OK, Conversation, post, status, turn_over

BIG = b"x" * (WRITE_BUFFER_BYTES_MAX + 1)


# ── slow sides ──────────────────────────────────────────────────────────────────


async def test_a_slow_client_stops_the_tool_from_being_read(talk: Conversation) -> None:
    talk.client.hold()
    talk.client.feed(GET)
    talk.tool.feed(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(BIG) * 3))
    for _ in range(3):
        talk.tool.feed(BIG)
    assert not talk.tool.is_reading()
    assert talk.tool.waiting == 2 * len(BIG)
    assert talk.client.unsent < WRITE_BUFFER_BYTES_MAX + len(BIG) + 200
    talk.client.release()
    await turn_over()
    assert talk.client.sent.count(b"x") == 3 * len(BIG)


async def test_a_slow_client_also_stops_the_next_response(talk: Conversation) -> None:
    talk.client.hold()
    talk.client.feed(GET + GET)
    big = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG
    talk.tool.feed(big)
    await turn_over()
    talk.tool.feed(big)
    await turn_over()
    assert talk.tool.waiting, "the second response isn't read while the first is unsent"
    talk.client.release()
    await turn_over()
    assert talk.client.sent == big + big


async def test_a_slow_tool_stops_the_client_from_being_read(talk: Conversation) -> None:
    talk.client.feed(post(len(BIG) * 3))
    talk.tool.hold()
    for _ in range(3):
        talk.client.feed(BIG)
    assert talk.client.waiting == 2 * len(BIG)
    talk.tool.release()
    await turn_over()
    assert talk.tool.sent.count(b"x") == 3 * len(BIG)
    talk.tool.feed(OK)
    await turn_over()
    assert talk.client.sent == OK


async def test_a_tool_that_never_reads_its_request_is_not_used_again(talk: Conversation) -> None:
    talk.client.feed(post(len(BIG)))
    talk.tool.hold()
    talk.client.feed(BIG)
    assert talk.tool.unsent == len(BIG)
    talk.tool.feed(OK)
    await turn_over()
    assert talk.client.sent == OK
    assert talk.site.lane.idle == [], "the next request would wait behind the unread one"
    assert talk.client.is_reading()


async def test_a_client_that_pipelines_while_it_waits_is_read_no_further_than_a_limit(
    talk: Conversation,
) -> None:
    talk.client.feed(GET)
    for _ in range(10):
        talk.client.feed(BIG)
    assert talk.client.waiting >= 8 * len(BIG)


# ── deadlines ───────────────────────────────────────────────────────────────────


def due_in(talk: Conversation) -> float:
    return talk.downstream.deadline - asyncio.get_running_loop().time()


async def test_a_connection_without_a_request_is_closed_when_it_is_due(talk: Conversation) -> None:
    assert due_in(talk) == pytest.approx(talk.site.idle_seconds_max, abs=1)
    talk.downstream.expire()
    assert talk.client.is_closing()
    assert talk.client.sent == b""


async def test_a_head_that_is_sent_too_slowly_gets_408(talk: Conversation) -> None:
    talk.client.feed(b"G")
    first = talk.downstream.deadline
    assert due_in(talk) == pytest.approx(HEAD_SECONDS_MAX, abs=1)
    talk.client.feed(b"E")
    assert talk.downstream.deadline == first, "each byte must not buy more time"
    talk.downstream.expire()
    assert status(talk) == 408
    assert talk.client.eof_sent


async def test_an_exchange_has_no_deadline_however_long_the_tool_thinks(
    talk: Conversation,
) -> None:
    talk.client.feed(GET)
    assert talk.downstream.deadline == 0.0
    talk.tool.feed(OK)
    assert due_in(talk) == pytest.approx(talk.site.idle_seconds_max, abs=1)


async def test_a_body_that_stops_coming_gets_408_but_a_slow_tool_does_not(
    talk: Conversation,
) -> None:
    talk.client.feed(post(len(BIG) + 10, b"five."))
    assert due_in(talk) == pytest.approx(PATIENT.silent_seconds_max, abs=1)
    talk.downstream.expire()
    assert talk.client.sent == b"", "something came since the last look"
    talk.tool.hold()
    talk.client.feed(BIG)
    talk.downstream.expire()
    talk.downstream.expire()
    assert talk.client.sent == b"", "it is the tool that doesn't read"
    talk.tool.release()
    talk.downstream.expire()
    talk.downstream.expire()
    assert status(talk) == 408
    assert talk.tool.aborted


async def test_a_body_that_came_whole_has_no_deadline_any_more(talk: Conversation) -> None:
    talk.client.feed(post(10, b"half."))
    talk.client.feed(b"other")
    assert talk.downstream.deadline == 0.0


async def test_a_client_that_never_reads_its_refusal_is_cut_off(talk: Conversation) -> None:
    talk.client.feed(b"nonsense\r\n\r\n")
    assert due_in(talk) == pytest.approx(LINGER_SECONDS_MAX, abs=1)
    talk.client.feed(b"more nonsense")
    talk.downstream.expire()
    assert talk.client.aborted


async def test_a_resting_connection_is_one_without_a_request(talk: Conversation) -> None:
    assert talk.downstream.resting
    talk.client.feed(b"G")
    resting = [talk.downstream.resting]
    talk.client.feed(GET[1:])
    resting.append(talk.downstream.resting)
    talk.tool.feed(OK)
    resting.append(talk.downstream.resting)
    assert resting == [False, False, True]


async def test_the_client_is_named_by_its_address(talk: Conversation) -> None:
    assert talk.downstream.client == "192.0.2.7"
