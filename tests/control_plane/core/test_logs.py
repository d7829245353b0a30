"""A log outlives its session, for people who could see the session."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from common.clock import SteppingClock
from common.ids import SessionId
from control_plane.engines.local import LocalEngine
from control_plane.engines.log_file import BYTES_MAX, read_end
from control_plane.errors import NotFoundError, RefusedError
from control_plane.model import Role

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.core_plane import Plane

SESSION = SessionId("0123abcd")


async def test_the_local_engine_gives_the_end_of_the_tools_log(tmp_path: Path) -> None:
    engine = LocalEngine(tmp_path, SteppingClock())
    assert await engine.log(SESSION, tail=2) is None
    (tmp_path / SESSION).mkdir()
    (tmp_path / SESSION / "tool.log").write_bytes(b"one\ntwo\n\xff\n")
    assert await engine.log(SESSION, tail=2) == "two\n\N{REPLACEMENT CHARACTER}\n"
    assert await engine.log(SESSION, tail=0) == ""


def test_of_a_huge_log_only_whole_lines_of_the_end_are_read(tmp_path: Path) -> None:
    log = tmp_path / "tool.log"
    log.write_bytes(b"x" * 99 + b"\n" + b"line\n" * BYTES_MAX)
    text = read_end(log, tail=10**9)
    assert text is not None
    assert BYTES_MAX - 10 < len(text) <= BYTES_MAX
    assert set(text.splitlines()) == {"line"}


def test_nothing_but_a_file_of_its_own_is_read(tmp_path: Path) -> None:
    secret = tmp_path / "studios.db"
    secret.write_text("secret")
    other = tmp_path / "admin-token"
    other.write_text("secret")
    (tmp_path / "link").symlink_to(other)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "second-name").hardlink_to(secret)
    for name in ("link", "pipe", "second-name", ".", "nothing"):
        assert read_end(tmp_path / name, tail=1) is None


async def test_logs_are_for_people_who_may_connect(plane: Plane) -> None:
    studio = await plane.create()
    viewer = await plane.service.add_user(plane.admin, "Vera", Role.VIEW)
    with pytest.raises(RefusedError):
        await plane.service.log(viewer, studio.session_id, tail=1)
    with pytest.raises(NotFoundError, match="left no log"):
        await plane.service.log(plane.admin, studio.session_id, tail=1)
