"""The benchmarks see wrong responses: a fast wrong answer must never become a number."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from bench import frames, pace, pattern, wrk
from bench.exchange import BODY_BYTES, Visitor, body_of, complete, fault
from bench.processes import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

VISITOR = Visitor(host="a1234abcd.studio.localhost", cookie="studio-connect=token")
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BODY_BYTES


def test_the_right_response_has_no_fault() -> None:
    assert fault(HEAD + body_of(7), body_of(7)) == ""
    assert fault(HEAD.replace(b"Content-L", b"content-l") + body_of(7), body_of(7)) == ""


@pytest.mark.parametrize(
    "response",
    [
        HEAD.replace(b"200 OK", b"502 Bad Gateway") + body_of(7),
        HEAD + body_of(8),
        HEAD + body_of(7) + b"x",
        HEAD + body_of(7)[:-1] + b"y",
        HEAD.replace(b"1024", b"1025") + body_of(7),
        HEAD.replace(b"Content-Length: 1024\r\n", b"") + body_of(7),
    ],
)
def test_a_wrong_response_is_seen(response: bytes) -> None:
    assert fault(response, body_of(7))


def test_a_response_is_complete_with_its_last_byte() -> None:
    response = HEAD + body_of(7)
    assert [size for size in range(len(response) + 1) if complete(response[:size])] == [
        len(response)
    ]


def test_pieces_make_up_a_body_that_is_right_at_every_position() -> None:
    position = 0
    for piece in pattern.pieces(3_000_017):
        assert pattern.is_right(bytes(piece), position)
        position += len(piece)
    assert position == 3_000_017


@pytest.mark.parametrize("moved_bytes", [1, 1024, 65536, pattern.PIECE_BYTES])
def test_bytes_in_the_wrong_place_are_seen(moved_bytes: int) -> None:
    first, second, *_ = (bytes(piece) for piece in pattern.pieces(2 * pattern.PIECE_BYTES))
    assert not pattern.is_right(second, pattern.PIECE_BYTES + moved_bytes)
    assert not pattern.is_right(first[:-1] + bytes((first[-1] ^ 1,)), 0)


def test_frames_are_those_of_the_protocol() -> None:
    assert frames.accept(frames.KEY) == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, section 1.3
    frame = frames.from_client(frames.payload(42))
    assert len(frame) == frames.CLIENT_FRAME_BYTES
    assert frames.text_of(frame) == frames.payload(42)
    assert frames.payload(42) not in frame


FLAWLESS = (
    'SUMMARY {"requests": 50, "microseconds": 2000000, "wrong": 0, "socket_errors": 0, '
    '"timeouts": 0}\nEXAMPLE \n'
)


def test_a_flawless_run_of_wrk_becomes_a_rate() -> None:
    assert wrk.parse(f"Running 2s test\n\n{FLAWLESS}").per_second == 25


@pytest.mark.parametrize(
    "output",
    [
        "",
        "unable to connect to 127.0.0.1:1 Connection refused",
        FLAWLESS.replace('"wrong": 0', '"wrong": 1'),
        FLAWLESS.replace('"socket_errors": 0', '"socket_errors": 1'),
        FLAWLESS.replace('"timeouts": 0', '"timeouts": 1'),
        FLAWLESS.replace('"requests": 50', '"requests": 0'),
    ],
)
def test_a_run_of_wrk_with_any_flaw_is_no_result(output: str) -> None:
    with pytest.raises(BenchError):
        wrk.parse(output)


@asynccontextmanager
async def tool(answer: Callable[[int], bytes]) -> AsyncIterator[int]:
    """Answer each request by its number, while inside; gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                response = answer(int(head.split()[1].partition(b"=")[2]))
                writer.write(response)
                if not response:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_every_paced_request_is_sent_and_timed() -> None:
    seen: list[int] = []

    def answer(number: int) -> bytes:
        seen.append(number)
        return HEAD + body_of(number)

    async with tool(answer) as port:
        latency = await pace.measure(port, VISITOR, rate=500, seconds=0.1, connections=3)
    assert sorted(seen) == list(range(50))
    assert latency.requests == 50
    assert 0 < latency.p50_ms <= latency.p99_ms


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (lambda number: HEAD + body_of(number + (number == 20)), "a wrong response"),
        (lambda number: b"" if number == 20 else HEAD + body_of(number), "closed"),
        (lambda _: HEAD.replace(b"200", b"503") + body_of(0), "503"),
    ],
)
async def test_one_wrong_response_ends_a_paced_run(
    answer: Callable[[int], bytes], reason: str
) -> None:
    async with tool(answer) as port:
        with pytest.raises(BenchError, match=reason):
            await pace.measure(port, VISITOR, rate=500, seconds=0.1, connections=3)
