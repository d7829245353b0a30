"""The hand-over of a login to a session's host, between browser, control plane and edge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from common.edge_messages import Connection, PresenceReport
from common.ids import SessionId
from common.tokens import ConnectClaims, TokenVerifier, connect_audience
from control_plane.login import codes
from tests.support.plane import DOMAIN, Answer, Plane, Somebody

if TYPE_CHECKING:
    from datetime import datetime


def host_of(session_id: str) -> str:
    return f"a{session_id}.{DOMAIN}"


async def authorize(
    somebody: Somebody, host: str, *, then: str = "/lab", state: str = "nonce"
) -> Answer:
    query = f"host={quote(host)}&return={quote(then)}&state={quote(state)}"
    return await somebody.get(f"/connect/authorize?{query}")


async def code_for(somebody: Somebody, session_id: str) -> str:
    answer = await authorize(somebody, host_of(session_id))
    assert answer.status == 302
    return parse_qs(urlsplit(answer.headers["Location"]).query)["code"][0]


async def redeem(plane: Plane, code: str, host: str) -> Answer:
    return await plane.edge.post("/api/edge/v1/redeem", {"code": code, "host": host})


async def claims_of(plane: Plane, token: str, session_id: str) -> ConnectClaims:
    """Check a token as an edge does: with the published keys."""
    jwks = (await plane.nobody.get("/.well-known/jwks.json")).text
    verifier = TokenVerifier(jwks, plane.clock)
    return verifier.verify(token, ConnectClaims, audience=connect_audience(host_of(session_id)))


async def test_a_logged_in_browser_gets_a_code_and_the_edge_a_token(plane: Plane) -> None:
    session_id = await plane.add()
    answer = await authorize(await plane.browser(), host_of(session_id), then="/lab?a=1&b=%2F")
    target = urlsplit(answer.headers["Location"])
    assert (target.scheme, target.netloc, target.path) == (
        "http", host_of(session_id), "/_connect/callback",
    )  # fmt: skip
    query = parse_qs(target.query)
    assert query["return"] == ["/lab?a=1&b=%2F"]
    assert query["state"] == ["nonce"]
    answer = await redeem(plane, query["code"][0], host_of(session_id))
    assert answer.status == 200
    claims = await claims_of(plane, answer.body["token"], session_id)
    assert (claims.name, claims.sid, claims.refused) == ("admin", session_id, "")
    assert claims.exp - claims.iat == 3600


async def test_without_a_login_the_login_page_comes_first(plane: Plane) -> None:
    session_id = await plane.add()
    answer = await authorize(plane.nobody, host_of(session_id))
    assert answer.status == 302
    then = parse_qs(urlsplit(answer.headers["Location"]).query)["next"][0]
    assert then.startswith("/connect/authorize?host=")
    resumed = await (await plane.browser()).get(then)
    assert urlsplit(resumed.headers["Location"]).netloc == host_of(session_id)


async def test_an_api_token_is_no_browser_login(plane: Plane) -> None:
    answer = await authorize(plane.admin, host_of(await plane.add()))
    assert answer.headers["Location"].startswith("/login")


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        f"a1234abcd.{DOMAIN}.evil.example",
        f"a1234abcd.evil.example/{DOMAIN}",
        f"a1234abcd@{DOMAIN}",
        f"A1234ABCD.{DOMAIN}",
        f"a1234abc.{DOMAIN}",
        f"a1234abcde.{DOMAIN}",
        f"x.a1234abcd.{DOMAIN}",
        "a1234abcd.studio.localhost",
        "a1234abcd.studio.localhost:80",
        f"a1234abcd.{DOMAIN}\r\nX: y",
        f"a{chr(0x661) * 8}.{DOMAIN}",  # digits, but not ours
        DOMAIN,
    ],
)
async def test_only_hosts_of_sessions_get_codes(plane: Plane, host: str) -> None:
    answer = await authorize(await plane.browser(), host)
    assert answer.status == 400
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    "then", ["//evil.example", "/\\evil", "https://evil.example/", "lab", "/a\r\nb", "/a\tb", ""]
)
async def test_only_paths_are_returned_to(plane: Plane, then: str) -> None:
    answer = await authorize(await plane.browser(), host_of(await plane.add()), then=then)
    assert answer.status == 400


async def test_a_code_works_once(plane: Plane) -> None:
    session_id = await plane.add()
    code = await code_for(await plane.browser(), session_id)
    assert (await redeem(plane, code, host_of(session_id))).status == 200
    assert (await redeem(plane, code, host_of(session_id))).status == 401


async def test_of_concurrent_redemptions_exactly_one_wins(plane: Plane) -> None:
    session_id = await plane.add()
    code = await code_for(await plane.browser(), session_id)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(redeem(plane, code, host_of(session_id))) for _ in range(8)]
    assert sorted(task.result().status for task in tasks) == [200] + [401] * 7


async def test_a_code_is_for_one_host_and_dead_once_shown_elsewhere(plane: Plane) -> None:
    mine, other = await plane.add("mine"), await plane.add("other")
    code = await code_for(await plane.browser(), mine)
    assert (await redeem(plane, code, host_of(other))).status == 401
    assert (await redeem(plane, code, host_of(mine))).status == 401


async def test_a_code_lives_a_minute(plane: Plane) -> None:
    session_id = await plane.add()
    code = await code_for(await plane.browser(), session_id)
    await plane.clock.advance(codes.LIFE.total_seconds())
    assert (await redeem(plane, code, host_of(session_id))).status == 401


async def test_only_edges_redeem(plane: Plane) -> None:
    session_id = await plane.add()
    code = await code_for(await plane.browser(), session_id)
    body = {"code": code, "host": host_of(session_id)}
    for somebody in (plane.nobody, plane.admin, plane.agent(session_id)):
        assert (await somebody.post("/api/edge/v1/redeem", body)).status == 401
    assert (await redeem(plane, code, host_of(session_id))).status == 200


async def test_a_refused_person_learns_why_and_for_a_minute_only(plane: Plane) -> None:
    session_id = await plane.add("secret", isPrivate=True)
    await plane.member("maintain")
    code = await code_for(await plane.browser("the-maintain"), session_id)
    answer = await redeem(plane, code, host_of(session_id))
    claims = await claims_of(plane, answer.body["token"], session_id)
    assert "ask admin" in claims.refused  # the owner's name
    assert claims.exp - claims.iat == 60


async def test_an_unknown_session_looks_the_same_until_the_edge_says_404(plane: Plane) -> None:
    code = await code_for(await plane.browser(), "0badcafe")
    answer = await redeem(plane, code, host_of("0badcafe"))
    assert answer.status == 200
    claims = await claims_of(plane, answer.body["token"], "0badcafe")
    assert claims.exp - claims.iat == 60


async def renew(plane: Plane, token: str) -> Answer:
    return await plane.edge.post("/api/edge/v1/renew", {"token": token})


async def token_for(plane: Plane, somebody: Somebody, session_id: str) -> str:
    code = await code_for(somebody, session_id)
    return str((await redeem(plane, code, host_of(session_id))).body["token"])


async def test_renewing_asks_the_role_table_again(plane: Plane) -> None:
    session_id = await plane.add()
    await plane.member("connect")
    token = await token_for(plane, await plane.browser("the-connect"), session_id)
    old = await claims_of(plane, token, session_id)
    fresh = await renew(plane, token)
    assert (await claims_of(plane, fresh.body["token"], session_id)).refused == ""
    answer = await plane.admin.put(f"/api/studios/{session_id}", {"isPrivate": True})
    assert answer.status == 200
    refused = await claims_of(plane, (await renew(plane, token)).body["token"], session_id)
    assert "private" in refused.refused
    assert refused.av > old.av


async def test_somebody_who_is_gone_is_not_renewed(plane: Plane) -> None:
    session_id = await plane.add()
    member = await plane.member("connect")
    token = await token_for(plane, await plane.browser("the-connect"), session_id)
    user_id = (await member.get("/api/user-info")).body["user"]["id"]
    await plane.admin.delete(f"/api/users/{user_id}")
    assert (await renew(plane, token)).status == 401


async def test_expired_foreign_and_damaged_tokens_are_not_renewed(plane: Plane) -> None:
    session_id = await plane.add()
    token = await token_for(plane, await plane.browser(), session_id)
    head, payload, signature = token.split(".")
    for bad in ("", "x", "a.b.c", f"{head}.{payload}.AAAA", f"{head}.bm8.{signature}", "." * 9):
        assert (await renew(plane, bad)).status == 401, bad
    agent = plane.agent(session_id).headers["Authorization"].removeprefix("Bearer ")
    assert (await renew(plane, agent)).status == 401  # ours, but for another audience
    await plane.clock.advance(3600 + 31)
    assert (await renew(plane, token)).status == 401


# ── Presence ─────────────────────────────────────────────────────────────────


def connection(session_id: str, user_id: int, at: datetime) -> Connection:
    return Connection(session_id=SessionId(session_id), user_id=user_id, since=at, last_active=at)


async def connected(plane: Plane, session_id: str) -> list[Any]:
    found = (await plane.admin.get(f"/api/studios/{session_id}")).body["activeConnections"]
    return [one["userName"] for one in found]


async def test_presence_shows_until_the_edge_falls_silent(plane: Plane) -> None:
    session_id = await plane.add()
    owner = await plane.owner()
    here = connection(session_id, owner.id, plane.clock.now())
    report = PresenceReport(edge_id="edge-1", connections=(here, here))
    assert (await plane.edge.put("/api/edge/v1/presence", report)).status == 204
    assert await connected(plane, session_id) == ["admin"]
    await plane.clock.advance(89)
    assert await connected(plane, session_id) == ["admin"]
    await plane.clock.advance(1)
    assert await connected(plane, session_id) == []


async def test_an_edge_reports_as_itself_only(plane: Plane) -> None:
    report = PresenceReport(edge_id="edge-2", connections=())
    assert (await plane.edge.put("/api/edge/v1/presence", report)).status == 403
