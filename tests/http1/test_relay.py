"""What goes wrong in an exchange, and what each side then sees."""

from __future__ import annotations

import asyncio

import pytest

from common.http1.head import HEAD_BYTES_MAX
from common.http1.intake import BODY_SILENT_SECONDS_MAX, HEAD_SECONDS_MAX
from common.http1.lane import LaneUnavailableError
from common.http1.relay import LINGER_SECONDS_MAX
from common.http1.replies import Reply
from common.http1.upstream import WRITE_BUFFER_BYTES_MAX
from tests.support.conversation import Conversation, FakeSite, turn_over

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
BIG = b"x" * (WRITE_BUFFER_BYTES_MAX + 1)


def post(length: int, body: bytes = b"", fields: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n%b\r\n%b" % (length, fields, body)


def status(talk: Conversation) -> int:
    return int(talk.client.sent.split(b" ", 2)[1])


@pytest.fixture
async def talk() -> Conversation:
    return Conversation(FakeSite())


# ── pipelining ───────────────────────────────────────────────────────────────


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


# ── heads ────────────────────────────────────────────────────────────────────


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


# ── bodies ───────────────────────────────────────────────────────────────────


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


# ── connections that fail ────────────────────────────────────────────────────


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


# ── upgrades ─────────────────────────────────────────────────────────────────

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


# ── slow sides ───────────────────────────────────────────────────────────────


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


# ── deadlines ────────────────────────────────────────────────────────────────


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
    assert due_in(talk) == pytest.approx(BODY_SILENT_SECONDS_MAX, abs=1)
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
