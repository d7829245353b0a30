"""Coming back from the control plane with a code."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.rig import OTHER, SESSION, Rig, running_rig, until
from tests.support.visits import (
    NAVIGATION,
    field,
    status,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with running_rig(tmp_path) as running:
        yield running


# ── coming back from signing in ─────────────────────────────────────────────────


def callback(rig: Rig, code: str, state: str, nonce: str, back: str = "/lab") -> bytes:
    cookie = f"studio-nonce={nonce}" if nonce else ""
    return rig.request(
        f"/_connect/callback?code={code}&return={back}&state={state}", *NAVIGATION, cookie=cookie
    )


async def test_coming_back_with_a_code_signs_in(rig: Rig) -> None:
    response = await rig.ask(callback(rig, rig.platform.code(SESSION), "n" * 32, "n" * 32))
    assert status(response) == 302
    assert field(response, "Location") == "/lab"
    cookie = field(response, "Set-Cookie").partition(";")[0]
    assert status(await rig.ask(rig.request("/lab", cookie=cookie))) == 200


async def test_a_code_works_once_and_for_its_own_host_only(rig: Rig) -> None:
    code = rig.platform.code(SESSION)
    assert status(await rig.ask(callback(rig, code, "n" * 32, "n" * 32))) == 302
    replayed = await rig.ask(callback(rig, code, "n" * 32, "n" * 32))
    assert status(replayed) == 400
    assert field(replayed, "Set-Cookie") == ""
    assert b"used already" in replayed
    foreign = await rig.ask(callback(rig, rig.platform.code(OTHER), "n" * 32, "n" * 32))
    assert status(foreign) == 400
    assert field(foreign, "Set-Cookie") == ""


async def test_a_sign_in_begun_elsewhere_is_not_finished_here(rig: Rig) -> None:
    for state, nonce in (("n" * 32, "m" * 32), ("n" * 32, ""), ("", ""), ("", "n" * 32)):
        code = rig.platform.code(SESSION)
        response = await rig.ask(callback(rig, code, state, nonce))
        assert status(response) == 400
        assert field(response, "Set-Cookie") == ""
        assert code in rig.platform.codes, "the code isn't used up by it"


async def test_two_tabs_may_sign_in_at_the_same_time(rig: Rig) -> None:
    first = await rig.ask(rig.request("/1", *NAVIGATION, cookie=""))
    nonce = field(first, "Set-Cookie").partition(";")[0]
    second = await rig.ask(rig.request("/2", *NAVIGATION, cookie=nonce))
    assert field(second, "Set-Cookie").partition(";")[0] == nonce
    state = nonce.partition("=")[2]
    for back in ("/1", "/2"):
        response = await rig.ask(callback(rig, rig.platform.code(SESSION), state, state, back))
        assert field(response, "Location") == back


async def test_a_nonce_that_is_not_one_of_ours_is_replaced(rig: Rig) -> None:
    for planted in ("x", "n" * 32, "0" * 31, "0" * 33, "A" * 32, ""):
        begun = await rig.ask(rig.request("/", *NAVIGATION, cookie=f"studio-nonce={planted}"))
        assert field(begun, "Set-Cookie").partition(";")[0] != f"studio-nonce={planted}"


async def test_the_back_button_after_signing_in_leads_to_the_page(rig: Rig) -> None:
    raw = rig.request("/_connect/callback?code=used&return=/lab&state=x", *NAVIGATION)
    response = await rig.ask(raw)
    assert status(response) == 302
    assert field(response, "Location") == "/lab"


async def raise_access_version(rig: Rig) -> None:
    rig.platform.add(SESSION, access_version=2)
    await until(lambda: rig.edge.directory.get(SESSION).access_version == 2)  # type: ignore[union-attr]


async def test_another_person_who_signs_in_on_the_same_browser_gets_in(rig: Rig) -> None:
    for planted in (rig.cookie(user=8), f"{rig.cookie(user=8)}; {rig.cookie(user=9)}"):
        rig.platform.gone |= {8, 9}
        code = rig.platform.code(SESSION, user=7)
        cookie = f"{planted}; studio-nonce={'n' * 32}"
        raw = rig.request(
            f"/_connect/callback?code={code}&return=/lab&state={'n' * 32}",
            *NAVIGATION,
            cookie=cookie,
        )
        response = await rig.ask(raw)
        assert field(response, "Location") == "/lab"
        fresh = field(response, "Set-Cookie").partition(";")[0]
        assert b"X-Connect-Sub: 7" in await rig.ask(rig.request("/lab", cookie=fresh))


async def test_the_callback_sends_nobody_to_a_page_that_would_send_them_back(rig: Rig) -> None:
    rig.platform.refused[9] = "Ask ada."
    refused, old = rig.cookie(user=9), rig.cookie(user=7)
    await raise_access_version(rig)
    for cookie in (old, refused):
        used = rig.request(
            "/_connect/callback?code=used&return=/&state=x", *NAVIGATION, cookie=cookie
        )
        assert status(await rig.ask(used)) == 400
        matching = used.replace(b"state=x", b"state=" + b"n" * 32).replace(
            b"Cookie: ", b"Cookie: studio-nonce=" + b"n" * 32 + b"; "
        )
        assert status(await rig.ask(matching)) == 400


async def test_a_cookie_that_is_dead_is_taken_from_the_browser(rig: Rig) -> None:
    rig.platform.gone.add(7)
    old = rig.cookie()
    await raise_access_version(rig)
    response = await rig.ask(rig.request("/lab", *NAVIGATION, cookie=old))
    assert status(response) == 302
    assert b"\r\nSet-Cookie: studio-connect=; Path=/; Max-Age=0;" in response


async def test_dead_or_refused_cookies_beside_a_good_one_do_no_harm(rig: Rig) -> None:
    dead, refused, old = rig.cookie(user=8), rig.cookie(user=9), rig.cookie(user=7)
    rig.platform.gone.add(8)
    rig.platform.refused[9] = "Ask ada."
    await raise_access_version(rig)
    current_refused = rig.cookie(user=9)
    for good in (old, rig.cookie(user=7)):
        for planted in (dead, refused, current_refused, f"{dead}; {refused}; {current_refused}"):
            for cookie in (f"{planted}; {good}", f"{good}; {planted}"):
                response = await rig.ask(rig.request("/lab", cookie=cookie))
                assert status(response) == 200
                assert b"X-Connect-Sub: 7" in response


async def test_signing_in_leads_to_this_host_only(rig: Rig) -> None:
    for back in (
        "//evil",
        "/%5Cevil",
        "%2F%2Fevil",
        "http://evil",
        "/%09/evil",
        "%5C%5Cevil",
        "/%0d%0aX:1",
    ):
        for raw in (
            callback(rig, rig.platform.code(SESSION), "n" * 32, "n" * 32, back),
            rig.request(f"/_connect/callback?return={back}", *NAVIGATION),
        ):
            response = await rig.ask(raw)
            assert status(response) == 302
            assert field(response, "Location") == "/", back


async def test_the_callback_survives_what_the_control_plane_never_sends(rig: Rig) -> None:
    queries = ["", "?", "?" + "&" * 500, "?code", "?code=%ff&state=%00", "?" + "a=b&" * 400]
    queries += ["?state=\x7e" * 20, "?code=x&code=y&state=a&state=b", "?" + "x" * 30_000]
    cookies = ["", "studio-nonce=n", "studio-nonce=", "studio-connect=" + "x" * 4000]
    for query in queries:
        for cookie in cookies:
            raw = rig.request(f"/_connect/callback{query}", *NAVIGATION, cookie=cookie)
            assert status(await rig.ask(raw)) == 400
    crit = "eyJhbGciOiJFZDI1NTE5Iiwia2lkIjoiazEiLCJjcml0IjoxfQ.e30.AAAA"
    raw = rig.request("/_connect/callback", *NAVIGATION, cookie=f"studio-connect={crit}")
    assert status(await rig.ask(raw)) == 400
    assert status(await rig.get()) == 200, "the edge still stands"


async def test_without_a_control_plane_signing_in_says_so(rig: Rig) -> None:
    rig.platform.down = True
    response = await rig.ask(callback(rig, "c", "n" * 32, "n" * 32))
    assert status(response) == 503
    assert b"does not answer" in response
