"""Somebody holds the database for longer than a request waits: it says so, and nothing is lost."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from control_plane import schema
from control_plane.database_troubles import busy_sentence
from tests.support.plane import open_test_plane
from tests.support.postgres import PostgresqlError

if TYPE_CHECKING:
    from pathlib import Path

SENTENCE = "The database is busy, so nothing was recorded: try again in a moment."


async def test_a_request_that_others_are_in_the_way_of_is_to_be_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT_MS", 20)
    async with open_test_plane(folder) as plane:
        session_id = await plane.add()
        start = f"/api/studios/{session_id}/start"
        with closing(sqlite3.connect(folder / "studios.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            answer = await plane.admin.put(start)
            assert (answer.status, answer.message) == (503, SENTENCE)
            looked = await plane.admin.get(f"/api/studios/{session_id}")
            assert (looked.status, looked.body["statusInfo"]["status"]) == (200, "stopped")
            other.execute("ROLLBACK")
        assert (await plane.admin.put(start)).status == 200


@pytest.mark.parametrize(
    ("original", "is_busy"),
    [
        (PostgresqlError("40P01"), True),
        (PostgresqlError("53100"), False),
        (sqlite3.OperationalError("raised by the driver itself"), False),
        (OSError("connection refused"), False),
    ],
)
def test_only_who_may_succeed_later_is_told_so(original: Exception, is_busy: bool) -> None:
    assert (busy_sentence(sa.exc.DBAPIError("INSERT", {}, original)) == SENTENCE) is is_busy
