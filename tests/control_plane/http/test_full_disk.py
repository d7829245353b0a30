"""The disk of the data folder is full: every call says so, and what only looks goes on."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from common.clock import SteppingClock
from common.ids import RunNumber, SessionId
from control_plane.database_troubles import disk_full_sentence
from control_plane.engines.fake import FakeEngine
from tests.support.control_plane_core import spec_of
from tests.support.full_disk import SmallDisk, small_disk
from tests.support.plane import Plane, open_test_plane
from tests.support.postgres import PostgresqlError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

SENTENCE = (
    "The disk of the data folder is full, so nothing can be recorded: "
    "free space on it, then try again."
)


@pytest.fixture
def disk(folder: Path) -> Iterator[SmallDisk]:
    with small_disk(folder, size_bytes=16 * 1024**2) as disk:
        yield disk


@pytest.fixture
async def plane(disk: SmallDisk, folder: Path) -> AsyncIterator[Plane]:
    async with open_test_plane(folder) as opened:
        yield opened


async def test_what_can_not_be_recorded_is_refused_with_what_is_full(
    plane: Plane, disk: SmallDisk
) -> None:
    session_id = await plane.add()
    disk.fill()
    for method, path in (
        ("PUT", f"/api/studios/{session_id}/start"),
        ("DELETE", f"/api/studios/{session_id}"),
        ("POST", "/api/tokens"),
    ):
        body = {"name": "script"} if method == "POST" else None
        answer = await plane.admin.call(method, path, body)
        assert (answer.status, answer.message) == (507, SENTENCE), path
    disk.free()
    assert (await plane.admin.put(f"/api/studios/{session_id}/start")).status == 200


async def test_looking_goes_on_however_long_the_disk_is_full(plane: Plane, disk: SmallDisk) -> None:
    session_id = await plane.add()
    disk.fill()
    await plane.clock.advance(3600)  # the token's use would be recorded again
    assert (await plane.admin.get(f"/api/studios/{session_id}")).status == 200


async def test_stopping_ends_the_session_and_says_what_is_missing(
    disk: SmallDisk, folder: Path
) -> None:
    engine = FakeEngine(SteppingClock())
    engine.host.agents_obey = False
    async with open_test_plane(folder, engines={"local": engine}) as plane:
        session_id = SessionId(await plane.add())
        await plane.run(session_id)
        await engine.submit(spec_of(session_id, 1, folder))
        disk.fill()
        stop = f"/api/studios/{session_id}/stop"
        answer = await plane.admin.put(stop)
        assert (answer.status, answer.message) == (
            507,
            f"{SENTENCE} The session was asked to end all the same.",
        )
        assert engine.host.agents[session_id, RunNumber(1)].stop_asked_at is not None
        engine.host.end(session_id, RunNumber(1))
        assert (await plane.admin.put(stop)).message.endswith("The session has ended all the same.")
        assert await plane.plane.service.end_unrecorded(session_id)
        studio = await plane.admin.get(f"/api/studios/{session_id}")
        assert studio.body["statusInfo"]["status"] == "running", "nothing could be recorded"
        disk.free()
        assert (await plane.admin.put(stop)).status == 200


async def test_who_may_not_stop_a_session_ends_none_on_a_full_disk_either(
    disk: SmallDisk, folder: Path
) -> None:
    engine = FakeEngine(SteppingClock())
    async with open_test_plane(folder, engines={"local": engine}) as plane:
        session_id = SessionId(await plane.add())
        await plane.run(session_id)
        await engine.submit(spec_of(session_id, 1, folder))
        viewer = await plane.member("view")
        disk.fill()
        assert (await viewer.put(f"/api/studios/{session_id}/stop")).status == 403
        assert engine.host.living(session_id) == [1]


@pytest.mark.parametrize(
    ("original", "words"),
    [
        (PostgresqlError("53100"), "The disk of the PostgreSQL database is full"),
        (PostgresqlError("53200"), None),
        (sqlite3.OperationalError("database is locked"), None),
    ],
)
def test_only_a_full_disk_is_called_one(original: Exception, words: str | None) -> None:
    sentence = disk_full_sentence(sa.exc.DBAPIError("INSERT", {}, original))
    assert (sentence is None) if words is None else (sentence or "").startswith(words)
