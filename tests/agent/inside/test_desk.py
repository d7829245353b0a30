"""Which page answers what."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from agent.control_plane import CannotExtendError, ControlPlaneAwayError, HttpControlPlane
from agent.inside.exchange import Request
from agent.inside.extension import SAME_END_SECONDS, SAME_REFUSAL_SECONDS, Extension, Refused
from common.clock import SteppingClock, settle
from tests.support import fake_control_plane
from tests.support.fake_control_plane import FIRST_END, TOKEN, FakeControlPlane, Mood

if TYPE_CHECKING:
    from pathlib import Path

    from common.messages import DesiredState
    from tests.agent.inside.served import Subject

FIRST, SECOND = FIRST_END + timedelta(hours=8), FIRST_END + timedelta(hours=16)


@pytest.mark.parametrize(
    ("method", "target", "status", "begins"),
    [
        ("GET", "/status", 200, b"Studio     genome\n"),
        ("GET", "/space", 200, b"Size       2 GB\n"),
        ("GET", "/status.json", 200, b'{"name":"genome"'),
        ("GET", "/space.json", 200, b'{"sizeBytes":'),
        ("GET", "/history", 200, b"Checkpoint 0123456789abcdef\n"),
        ("GET", "/history.json", 200, b'{"checkpoint":{"id":"0123456789abcdef"'),
        ("POST", "/extend", 200, b"The session now stops in "),
        ("GET", "/save", 405, b"/save takes POST only.\n"),
        ("POST", "/saves/1", 405, b"/saves/1 takes GET only.\n"),
        ("GET", "/saves/1", 404, b"Nothing is known of a saving 1 any more"),
        ("GET", "/saves/1.json", 404, b"Nothing is known of a saving 1 any more"),
        ("GET", "/saves/-1", 404, b"There is no page /saves/-1 here.\n"),
        ("GET", "/saves/1234567890", 404, b"There is no page /saves/1234567890 here.\n"),
        ("POST", "/status", 405, b"/status takes GET only.\n"),
        ("GET", "/extend", 405, b"/extend takes POST only.\n"),
        ("HEAD", "/status", 405, b"/status takes GET only.\n"),
        ("GET", "/", 404, b"There is no page / here.\n"),
        ("GET", "/status?x=1", 404, b"There is no page /status?x=1 here.\n"),
        ("GET", "/../status", 404, b"There is no page /../status here.\n"),
    ],
)
async def test_page_answers_its_method_only(
    subject: Subject, folder: Path, method: str, target: str, status: int, begins: bytes
) -> None:
    answer = await subject.desk(folder, SteppingClock()).answer(Request(method, target))
    assert answer.status == status
    assert answer.body.startswith(begins)
    assert answer.body.endswith(b"\n")


async def test_page_shows_the_session_as_it_is_now(subject: Subject, folder: Path) -> None:
    clock = SteppingClock()
    desk = subject.desk(folder, clock)
    subject.say(warnings=("Something happened.",))
    await clock.advance(3600)
    page = (await desk.answer(Request("GET", "/status"))).body.decode()
    assert "(1 h)" in page
    assert "Something happened." in page


async def test_refused_extension_is_a_conflict_with_its_sentence(
    subject: Subject, folder: Path
) -> None:
    subject.control_plane.refusal = "The session is already stopping."
    answer = await subject.desk(folder, SteppingClock()).answer(Request("POST", "/extend"))
    assert (answer.status, answer.body) == (409, b"The session is already stopping.\n")


# ── The extension ────────────────────────────────────────────────────────────


async def test_extension_is_asked_for_once_a_minute() -> None:
    clock, control_plane = SteppingClock(), FakeControlPlane()
    extension = Extension(control_plane.extend, clock)
    assert await extension.ask() == FIRST
    await clock.advance(SAME_END_SECONDS - 1)
    assert await extension.ask() == FIRST
    await clock.advance(1)
    assert await extension.ask() == SECOND
    assert control_plane.extensions == 2


async def test_refusal_is_asked_for_again_soon() -> None:
    clock, control_plane = SteppingClock(), FakeControlPlane()
    extension = Extension(control_plane.extend, clock)
    control_plane.refusal = "Not now."
    assert await extension.ask() == Refused("Not now.")
    control_plane.refusal = ""
    assert await extension.ask() == Refused("Not now.")
    await clock.advance(SAME_REFUSAL_SECONDS)
    assert await extension.ask() == FIRST


async def test_crowd_gets_one_extension() -> None:
    clock, control_plane = SteppingClock(), FakeControlPlane()
    may_go_on = asyncio.Event()
    asked = 0

    async def slowly() -> DesiredState:
        nonlocal asked
        asked += 1
        await may_go_on.wait()
        return await control_plane.extend()

    extension = Extension(slowly, clock)
    async with asyncio.TaskGroup() as group:
        crowd = [group.create_task(extension.ask()) for _ in range(16)]
        await settle()
        assert asked == 1
        may_go_on.set()
    assert {task.result() for task in crowd} == {FIRST}
    assert asked == 1


@pytest.mark.parametrize(
    ("mood", "said"), [(Mood.AWAY, "can't be reached"), (Mood.BROKEN, "can't be reached")]
)
async def test_control_plane_that_is_away_is_named(mood: Mood, said: str) -> None:
    control_plane = FakeControlPlane()
    control_plane.mood = mood
    outcome = await Extension(control_plane.extend, SteppingClock()).ask()
    assert isinstance(outcome, Refused)
    assert said in outcome.sentence


async def test_session_that_keeps_running_has_nothing_to_extend() -> None:
    control_plane = FakeControlPlane()

    async def without_an_end() -> DesiredState:
        return control_plane.wished

    outcome = await Extension(without_an_end, SteppingClock()).ask()
    assert isinstance(outcome, Refused)
    assert "keeps running" in outcome.sentence


# ── Over HTTP ────────────────────────────────────────────────────────────────


async def test_extension_travels_over_http() -> None:
    async with (
        fake_control_plane.serving() as server,
        HttpControlPlane(server.url, TOKEN) as control_plane,
    ):
        assert (await control_plane.extend()).deadline == FIRST
        assert server.token == TOKEN
        server.refusal = "The session is already stopping."
        with pytest.raises(CannotExtendError, match="already stopping"):
            await control_plane.extend()
        server.mood = Mood.BROKEN
        with pytest.raises(ControlPlaneAwayError, match="500"):
            await control_plane.extend()
    async with HttpControlPlane(server.url, TOKEN) as control_plane:
        with pytest.raises(ControlPlaneAwayError):
            await control_plane.extend()
