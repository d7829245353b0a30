"""Tokens for one command in a session: who gets one, what it says, and the trace it leaves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from common.ids import SessionId
from common.tokens import StudioClaims, TokenVerifier, studio_audience
from control_plane.schema import audit_events

if TYPE_CHECKING:
    from tests.support.plane import Answer, Plane, Somebody


async def ask(who: Somebody, session_id: str) -> Answer:
    return await who.post(f"/api/studios/{session_id}/token", {"scope": "exec"})


async def test_each_is_for_one_command_within_a_minute(plane: Plane) -> None:
    session_id = await plane.add()
    person = await plane.member("connect")
    verifier = TokenVerifier(plane.plane.parts.signer.public_keys(), plane.clock)
    seen = set()
    for _ in range(2):
        answer = await ask(person, session_id)
        assert answer.body["url"] == f"http://a{session_id}.studio.localhost:9191/.studio/exec"
        claims = verifier.verify(
            answer.body["token"], StudioClaims, audience=studio_audience(SessionId(session_id))
        )
        assert (claims.sid, claims.scope, claims.sub) == (session_id, "exec", "the-connect")
        assert claims.exp - claims.iat == 60
        seen.add(claims.jti)
    assert len(seen) == 2
    assert "" not in seen


async def test_each_leaves_a_trace_and_a_refusal_leaves_none(plane: Plane) -> None:
    session_id = await plane.add()
    person = await plane.member("connect")
    assert (await ask(person, session_id)).status == 200
    assert (await ask(await plane.member("view"), session_id)).status == 403
    user_id = (await person.get("/api/user-info")).body["user"]["id"]
    async with plane.plane.parts.database.connect() as connection:
        found = await connection.execute(
            sa.select(audit_events.c.session_id, audit_events.c.actor_id).where(
                audit_events.c.action == "studio_session_exec"
            )
        )
        assert found.all() == [(session_id, user_id)]


async def test_a_private_studio_is_closed_to_administrators(plane: Plane) -> None:
    session_id = await plane.add(isPrivate=True)
    answer = await ask(await plane.member("admin"), session_id)
    assert (answer.status, "private" in answer.message) == (403, True)
