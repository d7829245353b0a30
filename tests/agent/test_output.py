"""What becomes of the tool's output."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, strategies as st

from agent.supervisor.lines import LINE_BYTES_MAX, LastLines, readable
from agent.supervisor.output import (
    FOLLOWER_BYTES_MAX,
    FOLLOWERS_MAX,
    ToolOutput,
    TooManyFollowersError,
)
from agent.supervisor.tool_log import ToolLog, read_tail
from tests.support.agent_rig import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@given(st.lists(st.text(alphabet="ab\n", max_size=12)), st.integers(1, 5))
def test_the_last_lines_are_those_of_the_whole_however_it_is_cut(
    pieces: list[str], count: int
) -> None:
    ring = LastLines(count)
    for piece in pieces:
        ring.feed(piece.encode())
    assert ring.lines() == tuple("".join(pieces).removesuffix("\n").split("\n")[-count:]) or not (
        "".join(pieces)
    )


def test_a_line_without_end_is_bounded() -> None:
    ring = LastLines(3)
    for _ in range(1000):
        ring.feed(b"x" * 10_000)
    assert [len(line) for line in ring.lines()] == [LINE_BYTES_MAX]


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"caf\xe9", "caf\N{REPLACEMENT CHARACTER}"),
        (b"\x1b[31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07prompt", "prompt"),
        (b" 10%\r 50%\r100%\r", "100%"),
        (b"a\x00\x07b", "ab"),
    ],
)
def test_a_line_is_readable_whatever_bytes_it_is_made_of(raw: bytes, expected: str) -> None:
    assert readable(raw) == expected


def test_the_log_keeps_two_files_at_most_and_its_tail_spans_both(tmp_path: Path) -> None:
    log = ToolLog(tmp_path / "tool.log", bytes_max=100)
    for number in range(100):
        log.write(f"line {number}\n".encode())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tool.log", "tool.log.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= 200
    expected = b"".join(f"line {number}\n".encode() for number in range(85, 100))
    assert read_tail(log.snapshot(), 15) == expected
    log.close()


def test_a_disk_that_refuses_the_log_costs_only_the_log(tmp_path: Path) -> None:
    log = ToolLog(tmp_path / "tool.log", bytes_max=10)
    (tmp_path / "tool.log.1").mkdir()  # the rotation fails
    (tmp_path / "tool.log.1" / "x").touch()
    log.write(b"12345678\n")
    log.write(b"12345678\n")
    log.close()


@pytest.fixture
async def output(tmp_path: Path) -> AsyncIterator[ToolOutput]:
    collected = ToolOutput(tmp_path / "tool.log")
    yield collected
    collected.close()


async def test_a_follower_gets_the_tail_and_then_everything_without_a_gap(
    output: ToolOutput,
) -> None:
    output.feed(b"one\ntwo\n")
    follower = output.follow(1)
    assert await anext(follower) == b"two\n"
    output.feed(b"three\n")
    output.feed(b"four\n")
    assert await anext(follower) == b"three\nfour\n"


async def take(follower: AsyncIterator[bytes]) -> bytes:
    return await anext(follower)


async def test_what_comes_while_the_tail_is_read_is_neither_lost_nor_told_twice(
    output: ToolOutput,
) -> None:
    output.feed(b"one\n")
    follower = output.follow(10)
    async with asyncio.TaskGroup() as group:
        tail = group.create_task(take(follower))
        await asyncio.sleep(0)  # it follows, and begins to read the tail
        output.feed(b"two\n")
    assert tail.result() == b"one\n"
    assert await anext(follower) == b"two\n"


async def test_a_follower_that_does_not_read_is_told_what_it_missed(output: ToolOutput) -> None:
    follower = output.follow(0)
    assert await anext(follower) == b""
    for _ in range(3):
        output.feed(b"x" * FOLLOWER_BYTES_MAX)
    data = await anext(follower)
    assert data.startswith(f"\n[{2 * FOLLOWER_BYTES_MAX} bytes skipped".encode())
    assert len(data) < FOLLOWER_BYTES_MAX + 100


async def test_followers_are_limited_and_one_that_leaves_makes_room(output: ToolOutput) -> None:
    followers = [output.follow(0) for _ in range(FOLLOWERS_MAX)]
    for follower in followers:
        await anext(follower)
    with pytest.raises(TooManyFollowersError):
        output.follow(0)
    await followers[0].aclose()  # type: ignore[attr-defined]  # an async generator
    assert await anext(output.follow(0)) == b""


async def test_a_flood_is_taken_without_holding_up_the_loop(output: ToolOutput) -> None:
    total = 30 * 1024 * 1024
    turns = 0

    def write() -> None:
        piece = b"y" * 99 + b"\n"
        left = total
        while left:
            left -= os.write(output.pipe, (piece * 1000)[: min(left, 100_000)])
        os.write(output.pipe, b"\nthe end\n")

    async with asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(write))
        while output.last_lines()[-1:] != ("the end",):
            turns += 1
            await asyncio.sleep(0)
    assert turns > 100, "other tasks had their turns"


async def test_close_ends_followers(output: ToolOutput, tmp_path: Path) -> None:
    other = ToolOutput(tmp_path / "other.log")
    follower = other.follow(0)
    await anext(follower)
    os.write(other.pipe, b"last words")
    other.close()
    assert [piece async for piece in follower] == [b"last words"]
    await until(lambda: not other._followers, what="nobody follows")
