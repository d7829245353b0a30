"""Reports and desired state over a road on which everything gets lost, on a stepping clock."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import pytest

from agent.control_plane import ControlPlaneAwayError, HttpControlPlane, TokenRefusedError
from agent.desired import Obeyed, RenewToken, Stop, decide
from agent.reporting import RETRY_SECONDS_MAX, Reporter
from agent.status import refusal
from common.clock import SteppingClock, settle
from common.ids import SessionId
from common.messages import DesiredState, RunState, StatusReport
from common.secret import Secret
from common.session_spec import SessionSettings
from tests.support.fake_control_plane import RUN, TOKEN, FakeControlPlane, Mood, serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from agent.desired import Action

SESSION = SessionId("1234abcd")
INTERVAL_SECONDS = 10.0


class Agent:
    """A reporter with the smallest agent around it."""

    def __init__(self, control_plane: FakeControlPlane) -> None:
        self.control_plane = control_plane
        self.clock = SteppingClock()
        self.actions: list[Action] = []
        self.obeyed = Obeyed(run_number=RUN, settings=SessionSettings(), token=TOKEN, token_keys="")
        self.reporter = Reporter(
            control_plane,
            observe=self.observe,
            obey=self.obey,
            version=lambda: self.obeyed.version,
            interval_seconds=lambda: INTERVAL_SECONDS,
            clock=self.clock,
            rng=random.Random(1),
        )

    def observe(self, sequence: int) -> StatusReport:
        report = refusal(SESSION, RUN, "", self.clock.now())
        return msgspec.structs.replace(report, sequence=sequence)

    def obey(self, desired: DesiredState) -> None:
        self.obeyed, actions = decide(self.obeyed, desired)
        self.actions += actions
        for action in actions:
            if isinstance(action, RenewToken):
                self.control_plane.renew(action.token)

    @property
    def sequences(self) -> list[int]:
        return [report.sequence for report in self.control_plane.reports]


@asynccontextmanager
async def reporting(*, follow: bool = False) -> AsyncIterator[Agent]:
    agent = Agent(FakeControlPlane())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.reporter.report())]
        if follow:
            tasks.append(group.create_task(agent.reporter.follow()))
        await settle()
        yield agent
        for task in tasks:
            task.cancel()


async def test_the_state_is_reported_at_once_and_then_at_the_interval() -> None:
    async with reporting() as agent:
        assert agent.sequences == [1]
        await agent.clock.advance(INTERVAL_SECONDS - 0.01)
        assert agent.sequences == [1]
        await agent.clock.advance(0.02)
        assert agent.sequences == [1, 2]


async def test_changes_within_a_tenth_of_a_second_are_one_report() -> None:
    async with reporting() as agent:
        for _ in range(5):
            agent.reporter.changed()
            await agent.clock.advance(0.015)
        assert agent.sequences == [1]
        await agent.clock.advance(0.1)
        assert agent.sequences == [1, 2]
        await agent.clock.advance(INTERVAL_SECONDS - 0.2)
        assert agent.sequences == [1, 2]


async def test_a_change_after_a_while_is_reported_at_once() -> None:
    async with reporting() as agent:
        await agent.clock.advance(1.0)
        agent.reporter.changed()
        await agent.clock.advance(0.0)
        assert agent.sequences == [1, 2]


async def test_a_control_plane_away_for_five_minutes_hears_the_state_soon_after_its_return() -> (
    None
):
    async with reporting(follow=True) as agent:
        plane = agent.control_plane
        plane.mood = Mood.AWAY
        await agent.clock.advance(300)
        assert agent.sequences == [1]
        assert 30 <= agent.reporter.failures <= 80, "it went on trying, without hammering"
        plane.mood = Mood.WELL
        plane.wished = msgspec.structs.replace(plane.wished, version=2, run_state=RunState.STOP)
        await agent.clock.advance(RETRY_SECONDS_MAX + 1)
        assert agent.sequences[1:], "the state healed"
        assert agent.actions == [Stop("")]


@pytest.mark.parametrize("mood", [Mood.BROKEN, Mood.REFUSES_TOKEN])
async def test_an_answer_that_is_none_is_tried_again_with_the_newest_token(mood: Mood) -> None:
    async with reporting() as agent:
        newer = Secret("newer")
        agent.obey(msgspec.structs.replace(agent.control_plane.wished, agent_token=newer))
        agent.control_plane.mood = mood
        await agent.clock.advance(60)
        agent.control_plane.mood = Mood.WELL
        await agent.clock.advance(RETRY_SECONDS_MAX + 1)
        assert len(agent.sequences) >= 2
        assert set(agent.control_plane.tokens[1:]) == {newer}


async def test_sequence_numbers_grow_when_replies_are_lost() -> None:
    async with reporting() as agent:
        agent.control_plane.mood = Mood.LOSES_REPLIES
        await agent.clock.advance(60)
        agent.control_plane.mood = Mood.WELL
        await agent.clock.advance(30)
        assert len(agent.sequences) > 5
        assert agent.sequences == sorted(set(agent.sequences))


async def test_repeated_old_and_foreign_replies_change_nothing() -> None:
    async with reporting() as agent:
        plane = agent.control_plane
        old = plane.wished
        await plane.wish(RunState.STOP, "IDLE")
        await agent.clock.advance(INTERVAL_SECONDS + 1)
        foreign = msgspec.structs.replace(
            plane.wished, run_number=RUN + 1, version=99, run_state=RunState.FORCE_STOP
        )
        plane.replies = [old, plane.wished, foreign, old]
        await agent.clock.advance(4 * INTERVAL_SECONDS + 1)
        assert plane.replies == []
        assert agent.actions == [Stop("IDLE")]
        assert agent.obeyed.version == plane.wished.version


async def test_a_wish_arrives_by_long_poll_without_waiting_for_a_report() -> None:
    async with reporting(follow=True) as agent:
        await agent.clock.advance(1)
        await agent.control_plane.wish(RunState.STOP, "IDLE")
        await settle()
        assert agent.actions == [Stop("IDLE")]
        assert agent.sequences == [1]


async def test_a_control_plane_restored_from_a_backup_is_not_polled_in_a_hot_loop() -> None:
    async with reporting(follow=True) as agent:
        polls = 0
        plane = agent.control_plane
        agent.obey(msgspec.structs.replace(plane.wished, version=50))

        async def counted(*, after: int) -> DesiredState | None:
            nonlocal polls
            polls += 1
            return await FakeControlPlane.desired(plane, after=after)

        plane.desired = counted  # type: ignore[method-assign]
        plane.wished = msgspec.structs.replace(plane.wished, version=2)
        async with plane._news:
            plane._news.notify_all()
        await agent.clock.advance(60)
        assert 0 < polls <= 8


async def test_the_last_report_is_tried_until_its_limit() -> None:
    agent = Agent(FakeControlPlane())
    agent.control_plane.mood = Mood.AWAY
    async with asyncio.TaskGroup() as group:
        delivery = group.create_task(agent.reporter.deliver_last(20))
        await settle()
        await agent.clock.advance(10)
        assert not delivery.done()
        agent.control_plane.mood = Mood.WELL
        await agent.clock.advance(3)
        assert delivery.result() is True
        agent.control_plane.mood = Mood.AWAY
        late = group.create_task(agent.reporter.deliver_last(20))
        await settle()
        await agent.clock.advance(21)
        assert late.result() is False


# ── The same calls over HTTP ─────────────────────────────────────────────────


async def test_the_http_client_delivers_and_translates_every_refusal() -> None:
    report = refusal(SESSION, RUN, "because", SteppingClock().now())
    async with serving() as plane, HttpControlPlane(plane.url, Secret("first")) as client:
        assert await client.report(report) == plane.wished
        assert plane.reports == [report]
        assert await client.desired(after=0) == plane.wished
        client.renew(Secret("second"))
        await client.report(report)
        assert plane.tokens == [Secret("first"), Secret("second")]
        plane.mood = Mood.REFUSES_TOKEN
        with pytest.raises(TokenRefusedError):
            await client.report(report)
        plane.mood = Mood.BROKEN
        with pytest.raises(ControlPlaneAwayError, match="500"):
            await client.report(report)
        url = plane.url
    async with HttpControlPlane(url, TOKEN) as client:
        with pytest.raises(ControlPlaneAwayError):
            await client.report(report)
