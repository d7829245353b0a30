"""Connections that fail, or change their protocol, in the middle of an exchange."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.http1.lane import LaneUnavailableError
from tests.support.conversation import (
    GET,
    OK,
    WEBSOCKET,
    Conversation,
    FakeSite,
    post,
    status,
    turn_over,
)

if TYPE_CHECKING:
    from common.http1.replies import Reply


# ── connections that fail ───────────────────────────────────────────────────────


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS"])
async def test_a_stale_connection_is_replaced_once_for_requests_that_are_safe(
    talk: Conversation, method: bytes
) -> None:
    talk.client.feed(GET.replace(b"GET", method))
    talk.tool.feed_eof()
    await turn_over()
    assert len(talk.site.lane.tools) == 2
    assert talk.tool.sent == GET.replace(b"GET", method)
    talk.tool.feed_eof()
    await turn_over()
    assert len(talk.site.lane.tools) == 2
    assert status(talk) == 502


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"PATCH", b"PROPFIND"])
async def test_other_requests_are_never_sent_twice(talk: Conversation, method: bytes) -> None:
    talk.client.feed(GET.replace(b"GET", method))
    talk.tool.feed_eof()
    await turn_over()
    assert len(talk.site.lane.tools) == 1
    assert status(talk) == 502


async def test_a_safe_request_with_a_body_is_never_sent_twice(talk: Conversation) -> None:
    talk.client.feed(post(5, b"hello").replace(b"POST", b"GET"))
    talk.tool.feed_eof()
    await turn_over()
    assert len(talk.site.lane.tools) == 1
    assert status(talk) == 502


@pytest.mark.parametrize("heard", [b"H", b"HTTP/1.1 103 Early Hints\r\n\r\n"])
async def test_a_request_that_was_begun_to_be_answered_is_not_sent_again(
    talk: Conversation, heard: bytes
) -> None:
    talk.client.feed(GET)
    talk.tool.feed(heard)
    talk.tool.feed_eof()
    await turn_over()
    assert len(talk.site.lane.tools) == 1
    assert b"HTTP/1.1 502" in talk.client.sent


async def test_a_tool_that_can_not_be_reached_gives_its_status_and_sentence(
    talk: Conversation,
) -> None:
    talk.site.lane.refusal = LaneUnavailableError(503, "Too many.")
    talk.client.feed(GET)
    await turn_over()
    assert status(talk) == 503
    assert b"Too many." in talk.client.sent


@pytest.mark.parametrize("mode", [{"later": True}, {"dials": True}])
async def test_a_client_that_leaves_while_it_waits_leaves_nothing_behind(
    mode: dict[str, bool],
) -> None:
    talk = Conversation(FakeSite(**mode))
    talk.client.feed(GET)
    talk.client.break_off(ConnectionResetError())
    await turn_over()
    assert not talk.site.open
    assert not talk.site.tasks._tasks
    assert all(tool.is_closing() for tool in talk.site.lane.tools)


async def test_a_client_that_leaves_ends_the_request_at_the_tool(talk: Conversation) -> None:
    talk.client.feed(GET)
    talk.tool.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    talk.client.feed_eof()
    await turn_over()
    assert talk.tool.aborted
    assert not talk.site.open
    assert len(talk.site.lane.lost_ones) == 1


async def test_a_bug_met_by_one_request_ends_its_connection_and_nothing_else() -> None:
    talk = Conversation(FakeSite(later=True))

    def bug(_: object) -> Reply:
        raise RuntimeError("a bug")

    talk.site.decision = bug
    talk.client.feed(GET)
    await turn_over()
    assert talk.client.is_closing()
    failed = asyncio.get_running_loop().create_task(talk.site.tasks.failed())
    await turn_over()
    assert not failed.done(), "the site goes on"
    failed.cancel()


async def test_a_tool_that_speaks_unasked_is_not_used_again(talk: Conversation) -> None:
    talk.client.feed(GET)
    talk.tool.feed(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    await turn_over()
    talk.client.feed(GET)
    talk.tool.feed(OK)
    assert talk.client.sent == OK + OK
    assert talk.site.lane.tools[0].aborted
    assert len(talk.site.lane.tools) == 2


async def test_a_tool_that_speaks_between_requests_is_not_used_again(talk: Conversation) -> None:
    talk.client.feed(GET)
    talk.tool.feed(OK)
    talk.tool.feed(b"HTTP/1.1 408 Timeout\r\n\r\n")
    talk.client.feed(GET)
    assert len(talk.site.lane.tools) == 2


# ── upgrades ────────────────────────────────────────────────────────────────────

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"


async def test_a_tool_that_switches_protocols_unasked_gets_nothing_more(
    talk: Conversation,
) -> None:
    talk.client.feed(GET)
    talk.tool.feed(SWITCH + b"raw")
    await turn_over()
    assert status(talk) == 502
    assert b"raw" not in talk.client.sent
    assert talk.tool.aborted


async def test_a_tool_that_switches_before_the_body_ended_gets_nothing_more(
    talk: Conversation,
) -> None:
    talk.client.feed(post(5, b"he", WEBSOCKET).replace(b"POST", b"GET"))
    talk.tool.feed(SWITCH)
    await turn_over()
    assert status(talk) == 502
    assert talk.tool.aborted


async def test_after_a_switch_bytes_flow_both_ways_and_framing_fields_are_gone(
    talk: Conversation,
) -> None:
    talk.client.feed(GET[:-2] + WEBSOCKET + b"\r\n" + b"early")
    talk.tool.feed(SWITCH[:-2] + b"Content-Length: 0\r\n\r\n" + b"greeting")
    assert talk.client.sent == SWITCH + b"greeting"
    assert talk.tool.sent.endswith(b"\r\n\r\nearly")
    talk.client.feed(b"GET /smuggled HTTP/1.1\r\n\r\n")
    assert talk.tool.sent.endswith(b"earlyGET /smuggled HTTP/1.1\r\n\r\n")
    assert not talk.site.open
    talk.tool.feed_eof()
    assert talk.client.eof_sent
    talk.client.feed_eof()
    await turn_over()
    assert talk.tool.is_closing()
    assert talk.client.is_closing()
