"""The session's files, saved as somebody in it asks."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from agent.inside.desk import FIRST_WAIT_SECONDS, WAIT_SECONDS
from agent.inside.exchange import Answer, Request
from agent.inside.listener import CONNECTIONS_MAX
from agent.inside.saving import ENDED_MAX, PAUSE_SECONDS, WAITERS_MAX, Kept, NotKept, Saving
from common.clock import SteppingClock, settle
from tests.agent.inside.served import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from agent.inside.desk import Desk
    from tests.agent.inside.served import Subject

SAVE = Request("POST", "/save")
NEW_BYTES = 3_565_158
CROWD = 50


@asynccontextmanager
async def saving_for(subject: Subject, clock: SteppingClock) -> AsyncIterator[Saving]:
    async def save() -> None:
        await subject.save(clock)

    saving = Saving(
        save,
        status=lambda: subject.report.checkpoint,
        commits=lambda: subject.commits,
        clock=clock,
    )
    task = asyncio.get_running_loop().create_task(saving.run())
    try:
        yield saving
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled()


@asynccontextmanager
async def desk_of(subject: Subject, folder: Path, clock: SteppingClock) -> AsyncIterator[Desk]:
    desk = subject.desk(folder, clock)
    await desk.open()
    async with running(desk):
        yield desk


async def advance_until(clock: SteppingClock, is_so: Callable[[], bool]) -> None:
    for _ in range(100):
        await settle()
        if is_so():
            return
        await clock.advance(1)
    raise AssertionError("it never came true")


# ── What is saved, and for whom ──────────────────────────────────────────────


async def test_saving_ends_with_what_is_safe(subject: Subject) -> None:
    clock = SteppingClock()
    subject.new_bytes = NEW_BYTES
    async with saving_for(subject, clock) as saving:
        outcome = await saving.outcome(saving.ask(), WAIT_SECONDS)
    assert isinstance(outcome, Kept)
    assert (outcome.committed_at, outcome.generation) == (clock.now(), 3)
    assert outcome.new == subject.commits[-1]


async def test_saving_that_found_nothing_new_says_so(subject: Subject) -> None:
    async with saving_for(subject, SteppingClock()) as saving:
        outcome = await saving.outcome(saving.ask(), WAIT_SECONDS)
    assert isinstance(outcome, Kept)
    assert (outcome.new, outcome.generation) == (None, 2)


async def test_saving_that_failed_has_its_sentence(subject: Subject) -> None:
    subject.problem = "The files could not be saved: the bucket is away."
    async with saving_for(subject, SteppingClock()) as saving:
        assert await saving.outcome(saving.ask(), WAIT_SECONDS) == NotKept(subject.problem)


async def test_saving_that_ends_without_a_capture_is_not_taken_for_one(subject: Subject) -> None:
    clock = SteppingClock()
    before = clock.now()

    async def nothing() -> None:
        subject.say_of_checkpoint(committed_at=before)

    saving = Saving(
        nothing, status=lambda: subject.report.checkpoint, commits=lambda: (), clock=clock
    )
    await clock.advance(1)
    task = asyncio.get_running_loop().create_task(saving.run())
    try:
        outcome = await saving.outcome(saving.ask(), WAIT_SECONDS)
    finally:
        task.cancel()
        await asyncio.wait({task})
    assert outcome == NotKept("It is not certain that the files were saved.")


async def test_crowd_shares_one_capture(subject: Subject) -> None:
    async with saving_for(subject, SteppingClock()) as saving:
        assert {saving.ask() for _ in range(CROWD)} == {1}
        await saving.outcome(1, WAIT_SECONDS)
        assert subject.saves == 1


async def test_who_asks_while_one_is_under_way_gets_the_next(subject: Subject) -> None:
    clock = SteppingClock()
    subject.may_save = asyncio.Event()
    async with saving_for(subject, clock) as saving:
        first = saving.ask()
        await settle()
        assert subject.saves == 1
        later = {saving.ask() for _ in range(CROWD)}
        assert later == {first + 1}
        subject.may_save.set()
        await settle()
        await clock.advance(PAUSE_SECONDS)
        assert isinstance(await saving.outcome(first + 1, WAIT_SECONDS), Kept)
        assert subject.saves == 2


async def test_between_two_is_a_pause(subject: Subject) -> None:
    clock = SteppingClock()
    async with saving_for(subject, clock) as saving:
        await saving.outcome(saving.ask(), WAIT_SECONDS)
        saving.ask()
        await clock.advance(PAUSE_SECONDS - 1)
        assert subject.saves == 1
        await clock.advance(1)
        assert subject.saves == 2


async def test_loop_in_the_session_saves_six_times_a_minute(subject: Subject) -> None:
    clock = SteppingClock()
    async with saving_for(subject, clock) as saving:
        for _ in range(600):
            saving.ask()
            await clock.advance(0.1)
    assert subject.saves <= 60 / PAUSE_SECONDS + 1


async def test_long_loop_is_not_remembered_for_ever(subject: Subject) -> None:
    clock = SteppingClock()
    async with saving_for(subject, clock) as saving:
        numbers = []
        for _ in range(ENDED_MAX + 1):
            numbers.append(saving.ask())
            await clock.advance(PAUSE_SECONDS)
        assert [saving.is_known(number) for number in numbers] == [False] + [True] * ENDED_MAX


async def test_waiting_has_an_end_and_the_saving_goes_on(subject: Subject) -> None:
    clock = SteppingClock()
    subject.may_save = asyncio.Event()
    async with saving_for(subject, clock) as saving, asyncio.TaskGroup() as group:
        number = saving.ask()
        asking = group.create_task(saving.outcome(number, WAIT_SECONDS))
        await advance_until(clock, asking.done)
        assert asking.result() is None
        gone = group.create_task(saving.outcome(number, WAIT_SECONDS))
        await settle()
        gone.cancel()
        await settle()
        subject.may_save.set()
        assert isinstance(await saving.outcome(number, WAIT_SECONDS), Kept)


async def test_many_who_wait_leave_room_for_others(subject: Subject) -> None:
    assert WAITERS_MAX < CONNECTIONS_MAX
    subject.may_save = asyncio.Event()
    async with saving_for(subject, SteppingClock()) as saving, asyncio.TaskGroup() as group:
        number = saving.ask()
        waiting = [
            group.create_task(saving.outcome(number, WAIT_SECONDS)) for _ in range(WAITERS_MAX)
        ]
        await settle()
        assert await saving.outcome(number, WAIT_SECONDS) is None
        assert not any(task.done() for task in waiting)
        subject.may_save.set()
    assert all(isinstance(task.result(), Kept) for task in waiting)


# ── At the desk ──────────────────────────────────────────────────────────────


async def test_short_saving_is_answered_at_once(subject: Subject, folder: Path) -> None:
    subject.new_bytes = NEW_BYTES
    async with desk_of(subject, folder, SteppingClock()) as desk:
        answer = await desk.answer(SAVE)
    assert (answer.status, answer.location) == (200, "")
    assert answer.body.startswith(b"Saved: 12 431 files and folders, 1.2 GB; 3.4 MB were new.")


@pytest.mark.parametrize("suffix", ["", ".json"])
async def test_long_saving_says_where_to_ask_again(
    subject: Subject, folder: Path, suffix: str
) -> None:
    clock = SteppingClock()
    subject.may_save = asyncio.Event()
    async with desk_of(subject, folder, clock) as desk, asyncio.TaskGroup() as group:
        asking = group.create_task(desk.answer(Request("POST", f"/save{suffix}")))
        await settle()
        await clock.advance(FIRST_WAIT_SECONDS)
        answer = await asking
        assert (answer.status, answer.location) == (202, f"/saves/1{suffix}")
        asking = group.create_task(desk.answer(Request("GET", answer.location)))
        await settle()
        await clock.advance(WAIT_SECONDS)
        assert (await asking).location == answer.location
        asking = group.create_task(desk.answer(Request("GET", answer.location)))
        await settle()
        subject.may_save.set()
        answer = await asking
    assert (answer.status, answer.location) == (200, "")
    assert is_json(answer) == bool(suffix)


def is_json(answer: Answer) -> bool:
    return answer.content_type == "application/json"


async def test_saving_for_programs_has_the_names_of_the_api(subject: Subject, folder: Path) -> None:
    subject.new_bytes = NEW_BYTES
    async with desk_of(subject, folder, SteppingClock()) as desk:
        document = json.loads((await desk.answer(Request("POST", "/save.json"))).body)
    assert document.pop("committedAt")
    assert document == {
        "generation": 3,
        "entries": 12431,
        "fileBytes": 1288490188,
        "tornFiles": 0,
        "isNew": True,
        "newBytes": NEW_BYTES,
        "seconds": 2.14,
    }


async def test_saving_that_failed_is_a_conflict_with_its_sentence(
    subject: Subject, folder: Path
) -> None:
    subject.problem = "The files could not be saved: the bucket is away."
    async with desk_of(subject, folder, SteppingClock()) as desk:
        for target in ("/save", "/saves/1", "/saves/1.json"):
            method = "POST" if target == "/save" else "GET"
            answer = await desk.answer(Request(method, target))
            assert answer.status == 409
            assert answer.body.startswith(subject.problem.encode())


async def test_session_without_a_checkpoint_is_told_so_and_nothing_is_tried(
    subject: Subject, folder: Path
) -> None:
    subject.say(checkpoint=None)
    async with desk_of(subject, folder, SteppingClock()) as desk:
        for request in (
            SAVE,
            Request("POST", "/save.json"),
            Request("GET", "/history"),
            Request("GET", "/history.json"),
        ):
            answer = await desk.answer(request)
            assert answer.status == 409
            assert answer.body.startswith(b"This session has no checkpoint")
    assert subject.saves == 0
