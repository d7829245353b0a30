"""Getting in: links, tokens, cookies, and what a hostile neighbour may not do with them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from common.secret import Secret
from control_plane.login import links, page_sessions
from control_plane.schema import audit_events
from tests.support.plane import DOMAIN, ORIGIN, Answer, Plane, Somebody, open_test_plane

if TYPE_CHECKING:
    from pathlib import Path

    from control_plane.config import ControlPlaneConfig

FORM = {"Content-Type": "application/x-www-form-urlencoded", "Origin": ORIGIN}


async def link_token(plane: Plane) -> str:
    admin = await plane.owner()
    url = await plane.plane.login.login_link(admin.id)
    assert url.startswith(f"{ORIGIN}/login?token=")
    return url.partition("token=")[2]


async def post_form(somebody: Somebody, path: str, form: str, **headers: str) -> Answer:
    return await Somebody(somebody.http, {**somebody.headers, **FORM, **headers}).call(
        "POST", path, raw=form.encode()
    )


async def test_a_login_link_logs_in_once(plane: Plane) -> None:
    token = await link_token(plane)
    answer = await post_form(plane.nobody, "/login", f"token={token}&next=/?start=1234abcd")
    assert answer.status == 303
    assert answer.headers["Location"] == "/?start=1234abcd"
    cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Path=/" in cookie
    assert "Domain" not in cookie
    browser = plane.nobody.with_headers(Cookie=f"studio-page={answer.cookies['studio-page']}")
    assert (await browser.get("/api/user-info")).body["user"]["userName"] == "admin"
    again = await post_form(plane.nobody, "/login", f"token={token}")
    assert again.status == 401
    assert "studio-page" not in again.cookies


async def test_of_two_at_once_exactly_one_gets_in(plane: Plane) -> None:
    token = await link_token(plane)
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(post_form(plane.nobody, "/login", f"token={token}")) for _ in range(8)
        ]
    assert sorted(task.result().status for task in tasks) == [303] + [401] * 7


async def test_looking_at_a_link_does_not_use_it_up(plane: Plane) -> None:
    token = await link_token(plane)
    for _ in range(3):
        answer = await plane.nobody.get(f"/login?token={token}")
        assert answer.status == 200
        assert "Welcome, admin" in answer.text
        assert 'method="post"' in answer.text
    assert (await post_form(plane.nobody, "/login", f"token={token}")).status == 303


async def test_a_link_lives_a_day(plane: Plane) -> None:
    token = await link_token(plane)
    await plane.clock.advance(links.LIFE.total_seconds())
    assert (await plane.nobody.get(f"/login?token={token}")).status == 410
    assert (await post_form(plane.nobody, "/login", f"token={token}")).status == 401


async def test_a_newer_link_replaces_the_older(plane: Plane) -> None:
    old, new = await link_token(plane), await link_token(plane)
    assert (await post_form(plane.nobody, "/login", f"token={old}")).status == 401
    assert (await post_form(plane.nobody, "/login", f"token={new}")).status == 303


async def test_the_login_page_takes_an_api_token(plane: Plane) -> None:
    token = plane.admin.headers["Authorization"].removeprefix("Bearer ")
    answer = await post_form(plane.nobody, "/login", f"apiToken={token}")
    assert answer.status == 303
    assert answer.cookies["studio-page"]
    wrong = await post_form(plane.nobody, "/login", "apiToken=wrong")
    assert wrong.status == 401
    assert "studios login --link" in wrong.text


async def test_a_form_on_another_origin_logs_nobody_in_or_out(plane: Plane) -> None:
    token = await link_token(plane)
    hostile = {"Origin": "http://a1234abcd.studio.localhost:9191"}
    assert (await post_form(plane.nobody, "/login", f"token={token}", **hostile)).status == 403
    browser = await plane.browser()
    assert (await post_form(browser, "/logout", "", **hostile)).status == 403
    assert (await browser.get("/api/user-info")).status == 200


async def test_logging_out_ends_the_session_in_the_database(plane: Plane) -> None:
    browser = await plane.browser()
    assert (await post_form(browser, "/logout", "")).status == 200
    assert (await browser.get("/api/user-info")).status == 401


async def test_a_page_session_ends(plane: Plane) -> None:
    browser = await plane.browser()
    await plane.clock.advance((page_sessions.LIFE - timedelta(seconds=1)).total_seconds())
    assert (await browser.get("/api/user-info")).status == 200
    await plane.clock.advance(1)
    assert (await browser.get("/api/user-info")).status == 401


async def test_a_tossed_cookie_does_not_log_out(plane: Plane) -> None:
    """A session's host may set a cookie of our name for the parent domain, sent first."""
    browser = await plane.browser()
    both = f"studio-page=tossed; {browser.headers['Cookie']}"
    assert (await browser.with_headers(Cookie=both).get("/api/user-info")).status == 200


async def test_under_https_the_cookie_is_bound_to_the_host(folder: Path) -> None:
    def secure(config: ControlPlaneConfig) -> ControlPlaneConfig:
        domain = "studio.example.org"
        return replace(config, public_url=f"https://{domain}", connect_domain=domain)

    async with open_test_plane(folder, secure) as plane:
        admin = await plane.owner()
        token = (await plane.plane.login.login_link(admin.id)).partition("token=")[2]
        answer = await post_form(
            plane.nobody, "/login", f"token={token}", Origin="https://studio.example.org"
        )
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-studio-page=")
        assert "Secure" in cookie
        # what a sibling can set, and what an http page could set, is not looked at
        value = answer.cookies["__Host-studio-page"]
        plain = plane.nobody.with_headers(Cookie=f"studio-page={value}")
        assert (await plain.get("/api/user-info")).status == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://a1234abcd.studio.localhost:9191"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": f"{ORIGIN}.evil.example"},
        {"X_Studios_Request": ""},
        {"X_Studios_Request": "2"},
    ],
)
async def test_the_cookie_alone_changes_nothing(plane: Plane, headers: dict[str, str]) -> None:
    browser = (await plane.browser()).with_headers(**headers)
    body = {"name": "x", "computeEnvId": "local", "dataStudioToolUrl": "jupyterlab"}
    answer = await browser.post("/api/studios", body)
    assert answer.status == 403
    assert answer.message.endswith(".")
    assert (await plane.admin.get("/api/studios")).body["totalSize"] == 0
    assert (await (await plane.browser()).post("/api/studios", body)).status == 200


async def test_missing_headers_refuse_like_wrong_ones(plane: Plane) -> None:
    cookie = {"Cookie": (await plane.browser()).headers["Cookie"]}
    for headers in ({}, {"Origin": ORIGIN}, {"X_Studios_Request": "1"}):
        somebody = plane.nobody.with_headers(**cookie, **headers)
        assert (await somebody.post("/api/tokens", {"name": "x"})).status == 403


async def test_api_tokens_are_shown_once_and_can_be_ended(plane: Plane) -> None:
    answer = await plane.admin.post("/api/tokens", {"name": "laptop"})
    text, token_id = answer.body["accessKey"], answer.body["token"]["id"]
    assert text.startswith("studios_")
    laptop = plane.nobody.with_headers(Authorization=f"Bearer {text}")
    listed = await laptop.get("/api/tokens")
    assert "laptop" in {token["name"] for token in listed.body["tokens"]}
    assert text not in listed.text
    assert (await plane.admin.delete(f"/api/tokens/{token_id}")).status == 204
    assert (await laptop.get("/api/user-info")).status == 401
    assert (await plane.admin.delete(f"/api/tokens/{token_id}")).status == 404


async def test_nobody_ends_somebody_elses_token(plane: Plane) -> None:
    member = await plane.member("admin")
    answer = await plane.admin.post("/api/tokens", {"name": "laptop"})
    token_id = answer.body["token"]["id"]
    assert (await member.delete(f"/api/tokens/{token_id}")).status == 404


async def test_no_credential_is_kept_in_clear(plane: Plane, folder: Path) -> None:
    link = await link_token(plane)
    browser = await plane.browser()
    token = (await plane.admin.post("/api/tokens", {"name": "x"})).body["accessKey"]
    stored = b"".join([path.read_bytes() for path in folder.glob("studios.db*")])  # noqa: ASYNC240
    for secret in (link, browser.headers["Cookie"].partition("=")[2], token):
        assert secret.encode() not in stored


async def test_the_admin_token_is_kept_while_it_is_good(plane: Plane) -> None:
    desk = plane.plane.login
    first = await desk.admin_token()
    assert await desk.admin_token(first) == first
    other = await desk.admin_token(Secret("stale"))
    assert other != first
    stale = plane.nobody.with_headers(Authorization=f"Bearer {first.reveal()}")
    assert (await stale.get("/api/user-info")).status == 401  # replaced, not added to


async def test_users_are_added_with_a_link_and_lose_access_with_their_role(plane: Plane) -> None:
    answer = await plane.admin.post("/api/users", {"name": "ada", "role": "launch"})
    assert answer.status == 200
    user_id = answer.body["user"]["id"]
    token = answer.body["loginUrl"].partition("token=")[2]
    logged_in = await post_form(plane.nobody, "/login", f"token={token}")
    ada = plane.nobody.with_headers(Cookie=f"studio-page={logged_in.cookies['studio-page']}")
    assert (await ada.get("/api/user-info")).body["user"]["role"] == "launch"
    assert (await plane.admin.put(f"/api/users/{user_id}", {"role": "view"})).status == 204
    assert (await ada.get("/api/user-info")).body["user"]["role"] == "view"
    assert (await plane.admin.delete(f"/api/users/{user_id}")).status == 204
    assert (await ada.get("/api/user-info")).status == 401
    names = [user["userName"] for user in (await plane.admin.get("/api/users")).body["users"]]
    assert names == ["admin"]


async def test_a_login_link_never_leads_to_a_higher_role(plane: Plane) -> None:
    owner = await plane.owner()
    admin, view = await plane.member("admin"), await plane.member("view")
    assert (await admin.post(f"/api/users/{owner.id}/login-link")).status == 403
    assert (await view.post(f"/api/users/{owner.id}/login-link")).status == 403
    mine = (await view.get("/api/user-info")).body["user"]["id"]
    assert (await view.post(f"/api/users/{mine}/login-link")).status == 200
    assert (await plane.admin.post(f"/api/users/{mine}/login-link")).status == 200
    assert (await admin.post("/api/users/9999/login-link")).status == 404


async def test_an_admins_link_is_an_invitation_until_it_is_used(plane: Plane) -> None:
    admin = await plane.member("admin")
    added = await admin.post("/api/users", {"name": "ada", "role": "connect"})
    again = f"/api/users/{added.body['user']['id']}/login-link"
    link = (await admin.post(again)).body["loginUrl"]
    assert (await post_form(plane.nobody, "/login", link.partition("?")[2])).status == 303
    refused = await admin.post(again)
    assert (refused.status, "let you in as them" in refused.message) == (403, True)
    async with plane.plane.parts.database.connect() as connection:
        events = await connection.execute(sa.select(audit_events.c.action, audit_events.c.actor_id))
        made = [row.actor_id for row in events if row.action == "login_link_created"]
    assert len(made) == 2
    assert (await plane.admin.post(again)).status == 200  # an Owner, and it is written down


async def test_an_api_token_ends_an_invitation_too(plane: Plane) -> None:
    admin = await plane.member("admin")
    view = await plane.member("view")
    mine = (await view.get("/api/user-info")).body["user"]["id"]
    assert (await admin.post(f"/api/users/{mine}/login-link")).status == 403


async def test_nothing_of_a_removed_member_comes_back_with_the_name(plane: Plane) -> None:
    token = await plane.member("launch")
    user_id = (await token.get("/api/user-info")).body["user"]["id"]
    cookie = await plane.browser("the-launch")
    link = (await token.post(f"/api/users/{user_id}/login-link")).body["loginUrl"]
    host = f"a{await plane.add()}.{DOMAIN}"
    code = (await plane.plane.parts.codes.create(user_id, host)).reveal()
    assert (await plane.admin.delete(f"/api/users/{user_id}")).status == 204
    back = await plane.admin.post("/api/users", {"name": "the-launch", "role": "launch"})
    assert back.body["user"]["id"] == user_id
    assert (await token.get("/api/user-info")).status == 401
    assert (await cookie.get("/api/user-info")).status == 401
    assert (await post_form(plane.nobody, "/login", link.partition("?")[2])).status == 401
    redeemed = await plane.edge.post("/api/edge/v1/redeem", {"code": code, "host": host})
    assert redeemed.status == 401


async def test_the_admin_token_stays_the_local_administrators(plane: Plane) -> None:
    desk, local = plane.plane.login, await plane.owner()
    other = await plane.member("owner")
    assert (await other.put(f"/api/users/{local.id}", {"role": "view"})).status == 204
    for existing in (None, Secret("stale")):
        token = (await desk.admin_token(existing)).reveal()
        me = plane.nobody.with_headers(Authorization=f"Bearer {token}")
        user = (await me.get("/api/user-info")).body["user"]
        assert (user["id"], user["role"]) == (local.id, "view")


async def test_the_page_asks_for_a_login_and_comes_back(plane: Plane) -> None:
    answer = await plane.nobody.get("/?start=1234abcd")
    assert answer.status == 302
    assert answer.headers["Location"] == "/login?next=%2F%3Fstart%3D1234abcd"
    assert (await (await plane.browser()).get("/")).status == 200


@pytest.mark.parametrize(
    "evil", ["//evil.example", "https://evil.example", "/\\evil", "/%0d%0aSet-Cookie:x", "x", ""]
)
async def test_a_login_leads_to_our_own_pages_only(plane: Plane, evil: str) -> None:
    token = await link_token(plane)
    answer = await post_form(plane.nobody, "/login", f"token={token}&next={evil}")
    assert answer.status == 303
    target = urlsplit(answer.headers["Location"])
    assert target.netloc == ""
    assert answer.headers["Location"] == "/"
