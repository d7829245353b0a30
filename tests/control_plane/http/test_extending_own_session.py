"""A session asks for more time itself: `studio extend`, through its agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.tokens import AGENT_AUDIENCE, AgentClaims, TokenSigner, generate_key
from control_plane.schema import audit_events

if TYPE_CHECKING:
    from tests.support.plane import Plane

LIFESPAN = "/api/agent/v1/lifespan"
EXTENDED = "studio_session_lifespan_extended"
LIFESPAN_SECONDS = 8 * 3600


async def deadline(plane: Plane, session_id: str) -> str | None:
    found: str | None = (await plane.admin.get(f"/api/studios/{session_id}")).body["deadline"]
    return found


async def events(plane: Plane, session_id: str) -> list[tuple[str, int | None, dict[str, object]]]:
    async with plane.plane.parts.database.connect() as connection:
        rows = await connection.execute(
            sa.select(audit_events).where(audit_events.c.session_id == session_id)
        )
        return [(row.action, row.actor_id, row.detail) for row in rows]


async def test_session_extends_itself_as_people_do(plane: Plane) -> None:
    by_people, by_itself = await plane.add("one"), await plane.add("two")
    for session_id in (by_people, by_itself):
        await plane.run(session_id)
    await plane.clock.advance(600)
    before = await deadline(plane, by_itself)
    answer = await plane.agent(by_itself).post(LIFESPAN)
    await plane.admin.post(f"/api/studios/{by_people}/lifespan")
    assert answer.status == 200
    assert answer.body["deadline"] == await deadline(plane, by_itself) != before
    assert await deadline(plane, by_itself) == await deadline(plane, by_people)


async def test_extension_is_audited_as_the_session_s_own(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    await plane.clock.advance(600)
    await plane.agent(session_id).post(LIFESPAN)
    action, actor_id, detail = (await events(plane, session_id))[-1]
    assert (action, actor_id, detail["by"]) == (EXTENDED, None, "session")
    await plane.clock.advance(600)
    await plane.admin.post(f"/api/studios/{session_id}/lifespan")
    action, actor_id, detail = (await events(plane, session_id))[-1]
    assert (action, "by" in detail) == (EXTENDED, False)
    assert actor_id is not None


async def test_agent_extends_its_own_session_and_no_other(plane: Plane) -> None:
    mine, other = await plane.add("mine"), await plane.add("other")
    for session_id in (mine, other):
        await plane.run(session_id)
    await plane.clock.advance(600)
    before = await deadline(plane, other)
    assert (await plane.agent(mine).post(f"{LIFESPAN}?sessionId={other}")).status == 200
    assert await deadline(plane, other) == before
    await plane.agent(mine).post(LIFESPAN, {"sessionId": other})
    assert await deadline(plane, other) == before


async def test_nobody_but_an_agent_extends_here(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    before = await deadline(plane, session_id)
    await plane.clock.advance(600)
    now = plane.clock.now().timestamp()
    claims = AgentClaims(aud=AGENT_AUDIENCE, iat=now, exp=now + 60, sid=session_id, run=1)
    forged = TokenSigner([generate_key("other")], plane.clock).sign(claims)
    strangers = [
        plane.nobody,
        plane.edge,
        plane.admin,
        await plane.member("owner"),
        await plane.member("launch"),
        plane.nobody.with_headers(Authorization=f"Bearer {forged}"),
    ]
    for somebody in strangers:
        assert (await somebody.post(LIFESPAN)).status == 401
    assert await deadline(plane, session_id) == before


async def test_superseded_run_has_no_say(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    before = await deadline(plane, session_id)
    await plane.clock.advance(600)
    for other_run in (0, 2):
        answer = await plane.agent(session_id, other_run).post(LIFESPAN)
        assert (answer.status, "newest" in answer.message) == (409, True)
    assert await deadline(plane, session_id) == before


async def test_session_that_stops_is_not_extended(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    await plane.admin.put(f"/api/studios/{session_id}/stop")
    answer = await plane.agent(session_id).post(LIFESPAN)
    assert (answer.status, "stopping" in answer.message) == (409, True)


async def test_lifespan_that_is_over_but_not_acted_upon_can_be_extended(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.run(session_id)
    await plane.clock.advance(LIFESPAN_SECONDS + 60)
    before = await deadline(plane, session_id)
    answer = await plane.agent(session_id).post(LIFESPAN)
    assert answer.status == 200
    assert answer.body["deadline"] != before


async def test_session_that_keeps_running_says_so(plane: Plane) -> None:
    session_id = await plane.add(configuration={"lifespanHours": 0})
    await plane.run(session_id)
    answer = await plane.agent(session_id).post(LIFESPAN)
    assert (answer.status, "keeps running" in answer.message) == (409, True)


async def test_agent_of_a_deleted_studio_is_refused(plane: Plane) -> None:
    session_id = await plane.add()
    agent = plane.agent(session_id)
    await plane.admin.delete(f"/api/studios/{session_id}")
    assert (await agent.post(LIFESPAN)).status == 401
