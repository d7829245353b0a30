"""Who is let in, and what everybody else is told."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.rig import DOMAIN, OTHER, SESSION, Rig, read_head, running_rig, until
from tests.support.visits import (
    FETCH,
    NAVIGATION,
    field,
    first_head,
    own_origin,
    status,
    websocket,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from common.ids import SessionId

UNKNOWN = "deadbeef"


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


# ── nobody signed in ────────────────────────────────────────────────────────────


async def test_a_person_without_a_cookie_is_sent_to_sign_in(rig: Rig) -> None:
    response = await rig.ask(rig.request("/lab?a=1%2F2", *NAVIGATION, cookie=""))
    assert status(response) == 302
    location = urlsplit(field(response, "Location"))
    assert f"{location.scheme}://{location.netloc}{location.path}" == (
        f"http://{DOMAIN}/connect/authorize"
    )
    query = parse_qs(location.query)
    assert query["host"] == [rig.host]
    assert query["return"] == ["/lab?a=1%2F2"]
    nonce = query["state"][0]
    assert len(nonce) == 32
    assert field(response, "Set-Cookie").startswith(f"studio-nonce={nonce}; Path=/; ")
    assert field(response, "Cache-Control") == "no-store"


async def test_programs_and_websockets_without_a_cookie_get_401_and_no_redirect(rig: Rig) -> None:
    for raw in (
        rig.request("/", *FETCH, cookie=""),
        rig.request("/", "Accept: text/html", "X-Requested-With: XMLHttpRequest", cookie=""),
        rig.request("/", cookie=""),
        rig.request("/", *NAVIGATION, method="POST", cookie="", body=b"x"),
        websocket(rig, cookie="") + b"rest",
    ):
        reader, writer = await rig.connect()
        writer.write(raw)
        head = await read_head(reader)
        assert status(head) == 401, raw
        assert field(head, "Location") == ""
        assert field(head, "Content-Type") in ("application/json", "text/html; charset=utf-8")
        writer.close()


async def test_before_signing_in_nothing_tells_an_unknown_session_from_a_known_one(
    rig: Rig,
) -> None:
    rig.platform.add(OTHER, status="stopped", name="secret", owner="bob")
    garbage = "studio-connect=a.b.c"
    for fields, cookie in itertools.product((NAVIGATION, FETCH), ("", garbage)):
        answers = set()
        for host in (SESSION, OTHER, UNKNOWN):
            name = f"a{host}.{DOMAIN}"
            for target in (
                "/",
                "/_connect/callback",
                "/_connect/x",
                "/.studio/health",
                "/.studio/x",
            ):
                response = await rig.ask(rig.request(target, *fields, host=name, cookie=cookie))
                text = response.decode().replace(host, "<host>")
                for secret in ("requestId", "Request ", "state=", "studio-nonce="):
                    start = text.find(secret)
                    text = text if start < 0 else text[:start] + text[start + len(secret) + 40 :]
                answers.add((target, text))
        assert len(answers) == 5, answers


async def test_hosts_that_are_nobody_s_are_misdirected(rig: Rig) -> None:
    for host in ("evil.example", "studio.localhost", f"b{SESSION}.{DOMAIN}", "127.0.0.1"):
        assert status(await rig.ask(rig.request(host=host))) == 421


# ── tokens ──────────────────────────────────────────────────────────────────────


async def test_a_cookie_for_this_session_lets_in(rig: Rig) -> None:
    assert status(await rig.get()) == 200


def wrong_cookies(rig: Rig) -> dict[str, str]:
    platform = rig.platform
    good = platform.connect_token(SESSION)
    return {
        "another session's": platform.connect_token(OTHER),
        "over": platform.connect_token(SESSION, seconds=-1),
        "an agent's": platform.agent_token(SESSION),
        "a studio token": platform.studio_token(SESSION, "health"),
        "forged": good[:-6] + ("AAAAAA" if not good.endswith("AAAAAA") else "BBBBBB"),
        "with bytes": good + "\xff",
        "quoted": f'"{good}"',
        "two in one": f"{good},{good}",
        "nothing": "",
    }


async def test_every_other_cookie_is_like_none(rig: Rig) -> None:
    for what, token in wrong_cookies(rig).items():
        cookie = f"studio-connect={token}"
        assert status(await rig.ask(rig.request("/", *NAVIGATION, cookie=cookie))) == 302, what
        assert status(await rig.ask(rig.request("/", *FETCH, cookie=cookie))) == 401, what
        assert status(await first_head(rig, websocket(rig, cookie=cookie))) == 401, what


async def test_connect_tokens_are_no_bearer_tokens(rig: Rig) -> None:
    bearer = f"Authorization: Bearer {rig.platform.connect_token(SESSION)}"
    assert status(await rig.ask(rig.request("/", bearer, cookie=""))) == 401
    assert status(await rig.ask(rig.request("/.studio/health", bearer))) == 401
    tunnel = ("Connection: Upgrade", "Upgrade: studio-tunnel/1", bearer)
    tunnelling = rig.request("/_connect/tunnel", *tunnel, last=False)
    assert status(await first_head(rig, tunnelling)) == 401


async def test_cookies_planted_by_a_sibling_do_no_harm(rig: Rig) -> None:
    good = rig.cookie()
    for bad in [*wrong_cookies(rig).values(), "x" * 4000]:
        planted = f"studio-connect={bad}"
        for cookie in (f"{planted}; {good}", f"{good}; {planted}", f"a=1; {planted};{good}; b=2"):
            assert status(await rig.ask(rig.request(cookie=cookie))) == 200
    many = "; ".join(f"studio-connect={n}" for n in range(10))
    assert status(await rig.ask(rig.request(cookie=f"{many}; {good}"))) == 200


async def test_under_tls_cookies_are_bound_to_the_host(tmp_path: Path) -> None:
    async with running_rig(tmp_path, scheme="https") as rig:
        token = rig.platform.connect_token(SESSION)
        assert status(await rig.ask(rig.request(cookie=f"studio-connect={token}"))) == 401
        response = await rig.ask(rig.request(cookie=f"__Host-studio-connect={token}"))
        assert status(response) == 200
        assert b"X-Forwarded-Proto: https\r\n" in response
        assert b"__Host-" not in response
        begun = await rig.ask(rig.request("/", *NAVIGATION, cookie=""))
        assert field(begun, "Location").startswith(f"https://{DOMAIN}/connect/authorize?")
        assert field(begun, "Set-Cookie").startswith("__Host-studio-nonce=")
        assert "; Secure" in field(begun, "Set-Cookie")


async def test_an_unknown_session_is_404_for_a_person_with_a_token(rig: Rig) -> None:
    rig.platform.remove(SESSION)
    await until(lambda: rig.edge.directory.get(SESSION) is None)
    assert status(await rig.get()) == 404


async def test_a_refused_person_is_told_whom_to_ask(rig: Rig) -> None:
    rig.platform.refused[9] = "You may not connect here. Ask ada <b>."
    cookie = rig.cookie(user=9)
    page = await rig.ask(rig.request("/", *NAVIGATION, cookie=cookie))
    assert status(page) == 403
    assert b"Ask ada &lt;b&gt;." in page
    data = await rig.ask(rig.request("/", *FETCH, cookie=cookie))
    assert status(data) == 403
    assert b"Ask ada <b>." in data
    assert status(await first_head(rig, websocket(rig, cookie=cookie))) == 403


# ── which page asks ─────────────────────────────────────────────────────────────


async def test_requests_from_other_pages_are_refused_and_links_followed(rig: Rig) -> None:
    sibling = f"Origin: http://{rig.platform.host(OTHER)}"
    refused = [
        rig.request("/f", sibling, *NAVIGATION, method="POST", body=b"a=1"),
        rig.request("/f", "Origin: null", *NAVIGATION, method="POST", body=b"a=1"),
        rig.request("/f", f"Origin: http://{DOMAIN}", method="POST", body=b"a=1"),
        rig.request("/f", method="POST", body=b"a=1"),
        rig.request("/f", "Sec-Fetch-Site: same-site", method="DELETE"),
        rig.request("/f", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"),
        rig.request("/f", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: no-cors"),
        rig.request("/f", sibling),
        websocket(rig, sibling),
        websocket(rig, "Origin: null"),
        websocket(rig, "X: no origin"),
    ]
    for raw in refused:
        assert status(await first_head(rig, raw)) == 403, raw
    passed = [
        rig.request("/f", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"),
        rig.request("/f", own_origin(rig), method="POST", body=b"a=1"),
        rig.request("/f", "Sec-Fetch-Site: same-origin", method="POST", body=b"a=1"),
        rig.request("/f", "Sec-Fetch-Site: none"),
    ]
    for raw in passed:
        assert status(await rig.ask(raw)) == 200, raw


# ── what the tool sees ──────────────────────────────────────────────────────────


async def test_the_tool_sees_its_own_cookies_and_authorization_and_nothing_of_ours(
    rig: Rig,
) -> None:
    token = rig.platform.connect_token(SESSION)
    cookies = [
        f'a=1; studio-connect={token}; b="x y"; studio-nonce=n; _xsrf=2|e|f',
        f"  studio-connect = {token} ; studio-connect=;c=\xe9; studio-connect",
    ]
    raw = rig.request("/", f"cOOkie: {cookies[0]}", "Authorization: token tool", cookie=cookies[1])
    response = await rig.ask(raw)
    assert status(response) == 200
    assert b'Cookie: a=1; b="x y"; _xsrf=2|e|f; c=\xe9\r\n' in response
    assert response.lower().count(b"cookie:") == 1
    assert b"Authorization: token tool\r\n" in response
    for secret in (token.encode(), token.rpartition(".")[2].encode(), b"studio-"):
        assert secret not in response


async def test_forged_identity_never_reaches_the_tool(rig: Rig) -> None:
    names = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Forwarded", "X-Real-IP",
             "X-Connect-User", "X-Connect-Sub", "X_Connect_User", "X-Forwarded-Prefix")  # fmt: skip
    fields = [f"{name}: forged" for name in names]
    named = f"Connection: close, {', '.join(names)}"
    response = await rig.ask(rig.request("/", *fields, named, last=False))
    assert b"forged" not in response
    assert b"X-Connect-Sub: 7\r\n" in response
    assert b"X-Connect-User: user7\r\n" in response
    assert b"X-Forwarded-For: 127.0.0.1\r\n" in response
    assert f'host="{rig.host}"'.encode() in response


# ── /.studio/ ───────────────────────────────────────────────────────────────────


def own_pages(rig: Rig, target: str, token: str | None, session_id: SessionId = SESSION) -> bytes:
    fields = () if token is None else (f"Authorization: Bearer {token}",)
    return rig.request(target, *fields, host=rig.platform.host(session_id), cookie="")


async def test_the_agent_s_own_pages_open_with_the_right_token_only(rig: Rig) -> None:
    platform = rig.platform
    health = platform.studio_token(SESSION, "health")
    response = await rig.ask(own_pages(rig, "/.studio/health?x=1", health))
    assert status(response) == 200
    assert response.endswith(b"GET /.studio/health")
    for token in (
        None,
        "",
        "x",
        platform.studio_token(OTHER, "health"),
        platform.agent_token(SESSION),
        platform.connect_token(SESSION),
        health[:-4],
        "eyJhbGciOiJFZDI1NTE5Iiwia2lkIjoiazEiLCJjcml0IjoxfQ.e30.AAAA",
    ):
        assert status(await rig.ask(own_pages(rig, "/.studio/health", token))) == 401
    for target in ("/.studio/log", "/.studio/", "/.studio/healthy", "/.studio/x/health",
                   "/.studio/%6cog", "/.studio//health", "/.studio/Health"):  # fmt: skip
        assert status(await rig.ask(own_pages(rig, target, health))) == 403, target
    cookie_only = await rig.ask(rig.request("/.studio/health"))
    assert status(cookie_only) == 401, "what a page can make a browser send opens nothing"


async def test_the_agent_s_own_pages_are_no_other_page_s(rig: Rig) -> None:
    token = rig.platform.studio_token(SESSION, "health")
    for origin, expected in (f"http://{rig.host}", 200), ("http://evil", 403), ("null", 403):
        raw = own_pages(rig, "/.studio/health", token)
        asked = raw.replace(b"\r\n\r\n", f"\r\nOrigin: {origin}\r\n\r\n".encode())
        assert status(await rig.ask(asked)) == expected


async def test_a_followed_log_streams_and_its_end_is_seen(rig: Rig) -> None:
    token = rig.platform.studio_token(SESSION, "log")
    response = await rig.ask(own_pages(rig, "/.studio/log?follow=1", token))
    assert status(response) == 200
    assert response.endswith(b"line 0\nline 1\nline 2\n")


async def test_the_agent_s_own_pages_say_nothing_of_a_person(rig: Rig) -> None:
    token = rig.platform.studio_token(SESSION, "health")
    raw = own_pages(rig, "/.studio/health", token).replace(
        b"\r\n\r\n", b"\r\nCookie: " + rig.cookie().encode() + b"\r\n\r\n"
    )
    assert status(await rig.ask(raw)) == 200
