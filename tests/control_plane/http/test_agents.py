"""What agents say and are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from common.messages import RunPhase
from common.session_spec import SessionSettings
from tests.support.plane import open_test_plane, until

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane.config import ControlPlaneConfig
    from tests.support.plane import Plane

STATUS = "/api/agent/v1/status"
DESIRED = "/api/agent/v1/desired"


async def test_a_report_is_answered_with_the_whole_desired_state(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.start(session_id)
    answer = await plane.agent(session_id).put(STATUS, plane.report(session_id))
    assert answer.status == 200
    assert answer.body["runState"] == "run"
    assert answer.body["runNumber"] == 1
    assert answer.body["agentToken"] is None
    studio = (await plane.admin.get(f"/api/studios/{session_id}")).body
    assert studio["statusInfo"]["status"] == "running"
    await plane.admin.put(f"/api/studios/{session_id}/stop")
    answer = await plane.agent(session_id).put(STATUS, plane.report(session_id, sequence=2))
    assert answer.body["runState"] == "stop"


async def test_agents_are_told_how_often_to_save_and_so_is_everybody_else(folder: Path) -> None:
    def seldom(config: ControlPlaneConfig) -> ControlPlaneConfig:
        return replace(config, session=SessionSettings(checkpoint_interval_seconds=1800))

    async with open_test_plane(folder, seldom) as plane:
        session_id = await plane.add()
        await plane.start(session_id)
        answer = await plane.agent(session_id).put(STATUS, plane.report(session_id))
        assert answer.body["settings"]["checkpointIntervalSeconds"] == 1800
        studio = (await plane.admin.get(f"/api/studios/{session_id}")).body
        assert studio["checkpointIntervalSeconds"] == 1800


async def test_an_agent_speaks_for_its_own_run_only(plane: Plane) -> None:
    mine, other = await plane.add("mine"), await plane.add("other")
    await plane.admin.put(f"/api/studios/{mine}/start")
    await plane.admin.put(f"/api/studios/{other}/start")
    assert (await plane.agent(mine).put(STATUS, plane.report(other))).status == 403
    assert (await plane.agent(mine).put(STATUS, plane.report(mine, run=2))).status == 403
    for somebody in (plane.nobody, plane.admin, plane.edge):
        assert (await somebody.put(STATUS, plane.report(mine))).status == 401
    studio = (await plane.admin.get(f"/api/studios/{other}")).body
    assert studio["statusInfo"]["status"] == "starting"


async def test_a_token_past_half_its_life_is_renewed(plane: Plane) -> None:
    session_id = await plane.add(configuration={"lifespanHours": 0})
    await plane.run(session_id)
    agent = plane.agent(session_id)
    renewed = ""
    for hour in range(24):
        await plane.clock.advance(3600)
        answer = await agent.put(STATUS, plane.report(session_id, sequence=2 + hour))
        if answer.status == 200 and answer.body["agentToken"]:
            renewed = answer.body["agentToken"]
            break
    assert renewed, "no renewal within a day"
    fresh = plane.nobody.with_headers(Authorization=f"Bearer {renewed}")
    assert (await fresh.put(STATUS, plane.report(session_id, sequence=99))).status == 200


async def test_a_failed_run_shows_what_it_said(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.start(session_id)
    report = plane.report(session_id, phase=RunPhase.FAILED)
    await plane.agent(session_id).put(STATUS, report)
    studio = (await plane.admin.get(f"/api/studios/{session_id}")).body
    assert studio["statusInfo"]["status"] == "errored"


async def test_a_long_poll_answers_at_the_change(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    agent = plane.agent(session_id)
    version = (await agent.get(f"{DESIRED}?after=-1")).body["version"]
    streams = plane.plane.parts.streams
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(agent.get(f"{DESIRED}?after={version}&waitSeconds=30"))
        await until(lambda: streams.open == 1, what="the poll waits")
        assert not waiting.done()
        await plane.admin.put(f"/api/studios/{session_id}/stop")
    assert waiting.result().body["runState"] == "stop"


async def test_a_long_poll_ends_with_204_if_nothing_changes(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    agent = plane.agent(session_id)
    version = (await agent.get(f"{DESIRED}?after=-1")).body["version"]
    before = plane.clock.sleeping
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(agent.get(f"{DESIRED}?after={version}&waitSeconds=30"))
        await until(lambda: plane.clock.sleeping > before, what="the poll waits")
        await plane.clock.advance(30)
    assert waiting.result().status == 204


async def test_the_token_of_a_deleted_studio_is_refused(plane: Plane) -> None:
    session_id = await plane.add()
    agent = plane.agent(session_id)
    assert (await plane.admin.delete(f"/api/studios/{session_id}")).status == 204
    for answer in (await agent.put(STATUS, plane.report(session_id)), await agent.get(DESIRED)):
        assert (answer.status, "was deleted" in answer.message) == (401, True)
