"""What agents and edges are told, and what people of the workspace may."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from common.clock import settle
from common.ids import RunNumber, SessionId, UserId
from common.messages import RunState
from control_plane.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from control_plane.events import Change, ChangeKind
from control_plane.model import (
    LOCAL_ADMIN_NAME,
    Person,
    Role,
    SessionConfiguration,
)
from control_plane.validation import StartStudio, UpdateStudio

if TYPE_CHECKING:
    from control_plane.events import Subscription
    from tests.support.core_plane import Plane

NOWHERE = SessionId("ffffffff")


async def member(plane: Plane, role: Role, name: str = "Bob") -> Person:
    return await plane.service.add_user(plane.admin, name, role)


# ── Agents ───────────────────────────────────────────────────────────────────


async def test_report_of_another_run_than_the_tokens_is_refused(plane: Plane) -> None:
    studio = await plane.running()
    report = plane.agent(studio, 1).report(plane.clock)
    with pytest.raises(InvalidError):
        await plane.service.record_report(studio.session_id, RunNumber(2), report)
    with pytest.raises(InvalidError):
        await plane.service.record_report(NOWHERE, RunNumber(1), report)


async def test_wait_desired_answers_at_once_when_something_changed(plane: Plane) -> None:
    studio = await plane.running()
    desired = await plane.service.wait_desired(
        studio.session_id, RunNumber(1), after=studio.desired_version - 1, wait_seconds=30
    )
    assert desired is not None
    assert desired.run_state is RunState.RUN


async def test_wait_desired_wakes_with_the_change(plane: Plane) -> None:
    studio, other = await plane.running(), await plane.create("other")
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        waiting = group.create_task(
            plane.service.wait_desired(
                studio.session_id,
                RunNumber(1),
                after=studio.desired_version,
                wait_seconds=30,
            )
        )
        await _subscribed(plane)
        await plane.service.start(plane.admin, other.session_id)
        await settle()
        assert not waiting.done()
        await plane.service.stop(plane.admin, studio.session_id)  # time stands still
        desired = await waiting
    assert desired is not None
    assert desired.run_state is RunState.STOP


async def test_wait_desired_gives_up_after_its_time(plane: Plane) -> None:
    studio = await plane.running()
    async with asyncio.TaskGroup() as group, asyncio.timeout(10):
        waiting = group.create_task(
            plane.service.wait_desired(
                studio.session_id,
                RunNumber(1),
                after=studio.desired_version,
                wait_seconds=30,
            )
        )
        await _subscribed(plane)
        while plane.clock.sleeping == 0:
            await asyncio.sleep(0)
        await plane.clock.advance(30)
        assert await waiting is None


async def _subscribed(plane: Plane) -> None:
    while not plane.bus._subscriptions:
        await asyncio.sleep(0)


async def test_token_is_renewed_past_half_its_life(plane: Plane) -> None:
    studio = await plane.running()
    agent = plane.agent(studio, 1)
    issued = plane.clock.now()
    assert (await agent.speak(plane)).agent_token is None
    plane.clock.jump(12 * 3600)

    async def reply(**options: object) -> object:
        report = agent.report(plane.clock)
        desired = await plane.service.record_report(
            studio.session_id,
            RunNumber(1),
            report,
            **options,  # type: ignore[arg-type]
        )
        return desired.agent_token

    assert await reply(token_issued_at=issued) is not None
    assert await reply() is not None
    assert await reply(token_issued_at=plane.clock.now()) is None


# ── Edges ────────────────────────────────────────────────────────────────────


async def test_connect_decisions(plane: Plane) -> None:
    studio = await plane.create()
    bob = await member(plane, Role.CONNECT)
    decision = await plane.service.connect_decision(bob.id, studio.session_id)
    assert (decision.person, decision.refused, decision.exists) == (bob, "", True)
    await plane.service.update(plane.admin, studio.session_id, UpdateStudio(is_private=True))
    decision = await plane.service.connect_decision(bob.id, studio.session_id)
    assert "ask Ada" in decision.refused
    assert decision.access_version == studio.access_version + 1
    allowed = UpdateStudio(allowed_user_ids=(bob.id,))
    await plane.service.update(plane.admin, studio.session_id, allowed)
    assert not (await plane.service.connect_decision(bob.id, studio.session_id)).refused
    await plane.service.set_role(plane.admin, bob.id, None)
    decision = await plane.service.connect_decision(bob.id, studio.session_id)
    assert (decision.person, bool(decision.refused)) == (None, True)
    decision = await plane.service.connect_decision(plane.admin.id, NOWHERE)
    assert (decision.exists, bool(decision.refused)) == (False, True)


async def test_edges_know_every_studio_until_it_is_deleted(plane: Plane) -> None:
    studio = await plane.create()
    (session,) = await plane.service.edge_sessions()
    assert (session.session_id, session.status, session.owner) == (
        studio.session_id,
        "stopped",
        "Ada",
    )
    assert await plane.service.edge_session(studio.session_id) == session
    await plane.service.delete(plane.admin, studio.session_id)
    assert await plane.service.edge_sessions() == []
    assert await plane.service.edge_session(studio.session_id) is None


# ── People and events ────────────────────────────────────────────────────────


async def test_role_change_makes_every_token_be_checked_again(plane: Plane) -> None:
    studio = await plane.create()
    bob = await member(plane, Role.CONNECT)
    async with plane.bus.subscribe() as changes:
        await plane.service.set_role(plane.admin, bob.id, Role.VIEW)
        assert _read(changes) == [Change(ChangeKind.ACCESS, None)]
    assert (await plane.get(studio)).access_version == studio.access_version + 1
    assert await plane.service.find_person(bob.id) == Person(id=bob.id, name="Bob", role=Role.VIEW)


async def test_somebody_always_remains_to_manage_the_workspace(plane: Plane) -> None:
    with pytest.raises(ConflictError, match="make somebody else Owner first"):
        await plane.service.set_role(plane.admin, plane.admin.id, Role.VIEW)
    assert (await plane.service.find_person(plane.admin.id)) == plane.admin


async def test_the_last_owner_stays_though_there_are_admins(plane: Plane) -> None:
    await member(plane, Role.ADMIN)
    for role in (Role.ADMIN, None):
        with pytest.raises(ConflictError, match="Ada is the last Owner"):
            await plane.service.set_role(plane.admin, plane.admin.id, role)


async def test_only_an_owner_brings_a_former_member_back(plane: Plane) -> None:
    admin, bob = await member(plane, Role.ADMIN, "Adam"), await member(plane, Role.LAUNCH)
    await plane.service.set_role(admin, bob.id, None)
    with pytest.raises(RefusedError, match="private Studios back"):
        await plane.service.add_user(admin, "Bob", Role.LAUNCH)
    assert (await plane.service.add_user(plane.admin, "Bob", Role.LAUNCH)).id == bob.id


async def test_the_local_administrator_may_lose_the_role_but_not_the_membership(
    plane: Plane,
) -> None:
    local = await member(plane, Role.OWNER, LOCAL_ADMIN_NAME)
    with pytest.raises(ConflictError, match="`studios up` logs in as"):
        await plane.service.set_role(plane.admin, local.id, None)
    await plane.service.set_role(plane.admin, local.id, Role.VIEW)
    now = await plane.service.local_admin()
    assert now is not None
    assert (now.id, now.role) == (local.id, Role.VIEW)


async def test_variables_at_start_need_more_than_the_right_to_start(plane: Plane) -> None:
    admin = await member(plane, Role.ADMIN)
    studio = await plane.create()
    private = UpdateStudio(is_private=True)
    await plane.service.update(plane.admin, studio.session_id, private)
    variables = SessionConfiguration(environment={"LD_PRELOAD": "/mine.so"})
    with pytest.raises(RefusedError, match=r"environment variables of yours.*ask Ada"):
        await plane.service.start(admin, studio.session_id, StartStudio(configuration=variables))
    smaller = StartStudio(configuration=SessionConfiguration(cpu=1))
    assert (await plane.service.start(admin, studio.session_id, smaller)).run_number == 1


async def test_only_owners_make_and_unmake_owners(plane: Plane) -> None:
    admin = await member(plane, Role.ADMIN)
    with pytest.raises(RefusedError, match="Only an Owner"):
        await plane.service.add_user(admin, "Eve", Role.OWNER)
    with pytest.raises(RefusedError, match="Only an Owner"):
        await plane.service.set_role(admin, plane.admin.id, Role.VIEW)


async def test_users_have_unique_names_and_may_come_back(plane: Plane) -> None:
    bob = await member(plane, Role.LAUNCH)
    with pytest.raises(ConflictError):
        await member(plane, Role.VIEW)
    with pytest.raises(InvalidError, match="give the user a name"):
        await member(plane, Role.VIEW, "")
    await plane.service.set_role(plane.admin, bob.id, None)
    assert await plane.service.list_users(plane.admin) == [plane.admin]
    assert (await member(plane, Role.VIEW)).id == bob.id
    with pytest.raises(NotFoundError):
        await plane.service.set_role(plane.admin, UserId(99), Role.VIEW)


async def test_changes_are_told_once_and_reports_that_say_the_same_are_not(plane: Plane) -> None:
    async with plane.bus.subscribe() as changes:
        studio = await plane.create()
        one = studio.session_id
        assert _read(changes) == [Change(ChangeKind.CREATED, one)]
        with pytest.raises(ConflictError):
            await plane.create()
        assert _read(changes) == []
        await plane.service.start(plane.admin, one)
        await plane.run_until(studio, "running")
        assert Change(ChangeKind.CHANGED, one) in _read(changes)
        await plane.agent(studio, 1).speak(plane)
        assert _read(changes) == []
        await plane.service.update(plane.admin, one, UpdateStudio(is_private=True))
        assert _read(changes) == [Change(ChangeKind.ACCESS, one)]
        await plane.service.stop(plane.admin, one)
        await plane.run_until(studio, "stopped")
        _read(changes)
        await plane.service.delete(plane.admin, one)
        assert _read(changes) == [Change(ChangeKind.DELETED, one)]


def _read(changes: Subscription) -> list[object]:
    read: list[object] = list(changes._backlog)
    changes._backlog.clear()
    return read
