"""Whole conversations through a `Downstream`, at every byte split of what either side sends."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from tests.support.conversation import Conversation, FakeSite, Turn, turn_over

HOST = b"Host: a\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
CHUNKED = b"5\r\nhello\r\n1\r\n\r\r\n0\r\nX-Sum: 9\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nLink: </b.css>\r\n\r\n"


@dataclass
class Story:
    """What the client sends and must get; what the tool must get and sends."""

    sent: bytes
    turns: list[Turn]
    received: bytes
    ends: bool = False
    """Whether the client's connection is closed at the end."""
    tools: int = 1
    fields: dict[str, object] = field(default_factory=dict)


def get(target: bytes = b"/", fields: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"GET %b HTTP/%b\r\n%b%b\r\n" % (target, version, HOST, fields)


def post(fields: bytes, body: bytes) -> bytes:
    return b"POST /p HTTP/1.1\r\n%b%b\r\n%b" % (HOST, fields, body)


def answer(fields: bytes, body: bytes = b"", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, fields, body)


LENGTH = b"Content-Length: 5\r\n"
TE = b"Transfer-Encoding: chunked\r\n"
GZIP = b"Content-Encoding: gzip\r\n" + LENGTH

STORIES = {
    "a request without a body": Story(get(), [Turn(get(), OK)], OK),
    "the raw target": Story(
        get(b"/a%2Fb//%00/../%zz?x=%3A&&'\""),
        [Turn(get(b"/a%2Fb//%00/../%zz?x=%3A&&'\""), OK)],
        OK,
    ),
    "an empty query": Story(get(b"/a?"), [Turn(get(b"/a?"), OK)], OK),
    "hop-by-hop fields end": Story(
        get(b"/", b"Connection: x-a\r\nX-A: 1\r\nTE: trailers\r\nx-b: 2\r\n"),
        [
            Turn(
                get(b"/", b"x-b: 2\r\n"),
                answer(b"Keep-Alive: 5\r\nConnection: x-q\r\nX-Q: 1\r\n" + LENGTH, b"hello"),
            )
        ],
        answer(LENGTH, b"hello"),
    ),
    "a body with a length": Story(post(LENGTH, b"hello"), [Turn(post(LENGTH, b"hello"), OK)], OK),
    "an empty body": Story(
        post(b"Content-Length: 0\r\n", b""), [Turn(post(b"Content-Length: 0\r\n", b""), OK)], OK
    ),
    "a chunked body with trailers": Story(post(TE, CHUNKED), [Turn(post(TE, CHUNKED), OK)], OK),
    "pipelined requests": Story(
        get(b"/1") + post(LENGTH, b"hello") + get(b"/2") + post(TE, CHUNKED) + get(b"/3"),
        [
            Turn(get(b"/1"), answer(LENGTH, b"one..")),
            Turn(post(LENGTH, b"hello"), answer(LENGTH, b"two..")),
            Turn(get(b"/2"), answer(TE, CHUNKED)),
            Turn(post(TE, CHUNKED), answer(b"", status=b"204 No Content")),
            Turn(get(b"/3"), answer(LENGTH, b"last.")),
        ],
        answer(LENGTH, b"one..")
        + answer(LENGTH, b"two..")
        + answer(TE, CHUNKED)
        + answer(b"", status=b"204 No Content")
        + answer(LENGTH, b"last."),
    ),
    "blank lines between requests": Story(
        b"\r\n" + get(b"/1") + b"\r\n\r\n" + get(b"/2"),
        [Turn(get(b"/1"), OK), Turn(get(b"/2"), OK)],
        OK + OK,
    ),
    "a chunked response with trailers": Story(
        get(), [Turn(get(), answer(TE, CHUNKED))], answer(TE, CHUNKED)
    ),
    "a response until close": Story(
        get(),
        [Turn(get(), answer(b"X: 1\r\n", b"hello"), ends=True)],
        answer(b"X: 1\r\nConnection: close\r\n", b"hello"),
        ends=True,
    ),
    "an empty response until close": Story(
        get(),
        [Turn(get(), answer(b"X: 1\r\n"), ends=True)],
        answer(b"X: 1\r\nConnection: close\r\n"),
        ends=True,
    ),
    "204, 304 and HEAD have no body": Story(
        get(b"/1") + get(b"/2") + get(b"/3").replace(b"GET", b"HEAD") + get(b"/4"),
        [
            Turn(get(b"/1"), answer(b"", status=b"204 No Content")),
            Turn(get(b"/2"), answer(b"ETag: x\r\n" + LENGTH, status=b"304 Not Modified")),
            Turn(get(b"/3").replace(b"GET", b"HEAD"), answer(TE)),
            Turn(get(b"/4"), OK),
        ],
        answer(b"", status=b"204 No Content")
        + answer(b"ETag: x\r\n" + LENGTH, status=b"304 Not Modified")
        + answer(TE)
        + OK,
    ),
    "interim responses": Story(
        get(), [Turn(get(), CONTINUE + HINTS + HINTS + OK)], CONTINUE + HINTS + HINTS + OK
    ),
    "an HTTP/1.0 client": Story(
        get(version=b"1.0"),
        [Turn(get(version=b"1.0"), HINTS + OK)],
        answer(b"Content-Length: 2\r\nConnection: close\r\n", b"ok"),
        ends=True,
    ),
    "an HTTP/1.0 client that stays": Story(
        get(b"/1", b"Connection: keep-alive\r\n", b"1.0")
        + get(b"/2", b"Connection: keep-alive\r\n", b"1.0"),
        [Turn(get(b"/1", version=b"1.0"), OK), Turn(get(b"/2", version=b"1.0"), OK)],
        answer(b"Content-Length: 2\r\nConnection: keep-alive\r\n", b"ok") * 2,
    ),
    "an HTTP/1.0 tool": Story(
        get(b"/1") + get(b"/2"),
        [
            Turn(get(b"/1"), OK.replace(b"HTTP/1.1", b"HTTP/1.0"), ends=True),
            Turn(get(b"/2"), OK.replace(b"HTTP/1.1", b"HTTP/1.0"), ends=True),
        ],
        OK + OK,
        tools=2,
    ),
    "a client that closes": Story(
        get(b"/", b"Connection: close\r\n"),
        [Turn(get(), OK)],
        answer(b"Content-Length: 2\r\nConnection: close\r\n", b"ok"),
        ends=True,
    ),
    "a tool that closes": Story(
        get(b"/1") + get(b"/2"),
        [
            Turn(get(b"/1"), answer(b"Connection: close\r\n" + LENGTH, b"hello")),
            Turn(get(b"/2"), OK),
        ],
        answer(LENGTH, b"hello") + OK,
        tools=2,
    ),
    "several Set-Cookies and encodings": Story(
        get(b"/", b"Cookie: a=b\r\nCookie: c=d\r\nAuthorization: Basic eA==\r\n"),
        [
            Turn(
                get(b"/", b"Cookie: a=b\r\nCookie: c=d\r\nAuthorization: Basic eA==\r\n"),
                answer(b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nX: \r\n" + GZIP, b"\x1f\x8b\0\r\n"),
            )
        ],
        answer(b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nX: \r\n" + GZIP, b"\x1f\x8b\0\r\n"),
    ),
    "statuses nobody knows": Story(
        get(b"/1") + get(b"/2"),
        [
            Turn(get(b"/1"), answer(LENGTH, b"hello", status=b"299 Perhaps")),
            Turn(get(b"/2"), answer(LENGTH, b"hello", status=b"599 ")),
        ],
        answer(LENGTH, b"hello", status=b"299 Perhaps") + answer(LENGTH, b"hello", status=b"599 "),
    ),
    "a range": Story(
        get(b"/", b"Range: bytes=1-5\r\n"),
        [
            Turn(
                get(b"/", b"Range: bytes=1-5\r\n"),
                answer(b"Content-Range: bytes 1-5/9\r\n" + LENGTH, b"hello", b"206 Partial"),
            )
        ],
        answer(b"Content-Range: bytes 1-5/9\r\n" + LENGTH, b"hello", b"206 Partial"),
    ),
    "a WebSocket": Story(
        get(b"/ws", WEBSOCKET + b"Sec-WebSocket-Protocol: a, b\r\n"),
        [
            Turn(
                get(b"/ws", b"Sec-WebSocket-Protocol: a, b\r\n" + WEBSOCKET),
                answer(
                    WEBSOCKET + b"Sec-WebSocket-Protocol: b\r\n",
                    b"\x81\x02hi",
                    b"101 Switching Protocols",
                ),
            )
        ],
        answer(
            b"Sec-WebSocket-Protocol: b\r\n" + WEBSOCKET,
            b"\x81\x02hi",
            b"101 Switching Protocols",
        ),
    ),
    "a refused WebSocket": Story(
        get(b"/ws", WEBSOCKET) + get(b"/2"),
        [
            Turn(get(b"/ws", WEBSOCKET), answer(LENGTH, b"sorry", b"403 Forbidden")),
            Turn(get(b"/2"), OK),
        ],
        answer(LENGTH, b"sorry", b"403 Forbidden") + OK,
    ),
}

MODES = {"at once": {}, "later": {"later": True}, "dialled": {"dials": True}}


async def play(story: Story, mode: dict[str, bool], pieces: list[bytes], answer_in: int) -> None:
    site = FakeSite(**mode)
    turns = [Turn(turn.forwarded, turn.answered, turn.ends) for turn in story.turns]
    talk = Conversation(site, turns)
    await talk.say(pieces, answer_in=answer_in)
    await turn_over()
    assert not talk.turns, "the tool was not sent everything"
    assert bytes(talk.client.sent) == story.received
    assert talk.client.is_closing() is story.ends
    assert not talk.client.aborted
    assert not site.failures
    if not mode:
        assert len(site.lane.tools) == story.tools
    await site.tasks.close()


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES.keys())
async def test_a_conversation_is_the_same_at_every_split(
    story: Story, mode: dict[str, bool]
) -> None:
    asyncio.get_running_loop().set_debug(enabled=False)
    for cut in range(len(story.sent) + 1):
        await play(story, mode, [story.sent[:cut], story.sent[cut:]], 0)
    for cut in range(1, max(len(turn.answered) for turn in story.turns)):
        await play(story, mode, [story.sent], cut)
    single = [story.sent[i : i + 1] for i in range(len(story.sent))]
    await play(story, mode, single, -1)
