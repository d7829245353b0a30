"""A feed with bad lines in it: each costs itself, never the edge, nor the lines behind it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from common.ids import SessionId
from connect_proxy import control_plane
from connect_proxy.lines import LineCutter
from tests.support.rig import SESSION, Rig, running_rig, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NEW = SessionId("0badcafe")


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path, agent=False) as running:
        yield running


BAD_LINES = {
    "not JSON": b"}{\n",
    "not UTF-8": b"\xff\xfe\n",
    "nothing known": b"[]\n",
    "half a session": b'{"session":{"sessionId":"1234abcd"}}\n',
    "nested": b"[" * 100_000 + b"\n",
    "a wrong id": b'{"removed":7}\n',
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
async def test_a_line_that_makes_no_sense_is_skipped_and_the_feed_goes_on(
    rig: Rig, bad: bytes
) -> None:
    for follower in rig.platform._followers:
        follower.put_nowait(bad)
    rig.platform.add(NEW)
    await until(lambda: rig.edge.directory.get(NEW), what="the line behind it is read")
    assert rig.platform.requests.count("GET /api/edge/v1/feed") == 1, "on the same connection"


async def test_a_line_of_a_megabyte_is_a_line(rig: Rig) -> None:
    rig.platform.add(SESSION, message="x" * 1_000_000)
    rig.platform.add(NEW)
    await until(lambda: rig.edge.directory.get(NEW), what="the line behind it is read")
    session = rig.edge.directory.get(SESSION)
    assert session is not None
    assert len(session.message) == 1_000_000


async def test_a_line_over_the_limit_costs_itself_only(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control_plane, "_FEED_LINE_BYTES_MAX", 10_000)
    await rig.platform.cut_feeds()
    await until(lambda: not rig.edge.control_plane.feed_alive)
    await until(lambda: rig.edge.control_plane.feed_alive)
    rig.platform.add(SESSION, message="x" * 5_000_000)
    rig.platform.add(NEW)
    await until(lambda: rig.edge.directory.get(NEW), what="the line behind it is read")
    assert not any(task.done() for task in rig.edge_end.tasks)


def test_lines_are_cut_the_same_however_they_arrive() -> None:
    whole = [b"", b"a", b"b" * 10, b"", b"c\r", b"d" * 9]
    stream = b"\n".join([*whole, b"e" * 11, b"f" * 5000, b"g", b"unfinished"])
    rng = random.Random(1)
    for _ in range(200):
        cutter = LineCutter(10)
        lines: list[bytes] = []
        at = 0
        while at < len(stream):
            size = rng.choice((1, 2, 7, 100, 6000))
            lines += cutter.cut(stream[at : at + size])
            at += size
        assert lines == [*whole, b"g"]
        assert cutter.dropped == 2
