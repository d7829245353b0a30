"""Which page may make which request."""

from __future__ import annotations

import itertools

import pytest

from common.http1.head import RequestHead, parse_request
from connect_proxy.origin import is_navigation, of_another_page, refusal

OWN = b"http://a1234abcd.studio.localhost:9191"
SIBLING = b"http://a5678ef01.studio.localhost:9191"
PLATFORM = b"http://studio.localhost:9191"
WEBSOCKET = b"Connection: Upgrade\r\nUpgrade: websocket\r\n"


def request(
    method: bytes = b"GET",
    origin: bytes | None = None,
    site: bytes | None = None,
    mode: bytes | None = None,
    fields: bytes = b"",
) -> RequestHead:
    lines = method + b" / HTTP/1.1\r\nHost: a\r\n" + fields
    for name, value in ((b"Origin", origin), (b"Sec-Fetch-Site", site), (b"Sec-Fetch-Mode", mode)):
        if value is not None:
            lines += name + b": " + value + b"\r\n"
    return parse_request(lines + b"\r\n")


SAFE = (b"GET", b"HEAD", b"OPTIONS")
UNSAFE = (b"POST", b"PUT", b"PATCH", b"DELETE", b"PROPFIND")
SITES = (None, b"none", b"same-origin", b"same-site", b"cross-site", b"nonsense")
ORIGINS = (
    None,
    OWN,
    SIBLING,
    PLATFORM,
    b"null",
    b"",
    OWN + b".evil",
    OWN.upper(),
    b"https" + OWN[4:],
)


@pytest.mark.parametrize(
    ("method", "origin", "site"), list(itertools.product(UNSAFE, ORIGINS, SITES))
)
def test_what_changes_something_must_come_from_the_session_s_own_page(
    method: bytes, origin: bytes | None, site: bytes | None
) -> None:
    allowed = origin == OWN or (origin is None and site == b"same-origin")
    assert (refusal(request(method, origin, site), OWN) == "") is allowed
    # nor does a navigation (a form) change that
    assert (refusal(request(method, origin, site, b"navigate"), OWN) == "") is allowed


@pytest.mark.parametrize(("origin", "site"), list(itertools.product(ORIGINS, SITES)))
def test_a_websocket_must_come_from_the_session_s_own_page(
    origin: bytes | None, site: bytes | None
) -> None:
    allowed = origin == OWN or (origin is None and site == b"same-origin")
    head = request(origin=origin, site=site, mode=b"websocket", fields=WEBSOCKET)
    assert (refusal(head, OWN) == "") is allowed


@pytest.mark.parametrize(
    ("method", "origin", "site"), list(itertools.product(SAFE, ORIGINS, SITES))
)
def test_reading_is_refused_to_other_pages_but_following_a_link_is_not(
    method: bytes, origin: bytes | None, site: bytes | None
) -> None:
    own = site in (None, b"none", b"same-origin")
    allowed = origin == OWN or (origin is None and own)
    assert (refusal(request(method, origin, site, b"no-cors"), OWN) == "") is allowed
    followed = origin in (None, OWN)
    assert (refusal(request(method, origin, site, b"navigate"), OWN) == "") is followed


def test_a_refusal_names_the_page_and_survives_odd_bytes() -> None:
    assert "http://evil" in refusal(request(origin=b"http://evil"), OWN)
    assert refusal(request(origin=b"http://\xff"), OWN)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (request(mode=b"navigate"), True),
        (request(b"HEAD", mode=b"navigate"), True),
        (request(b"POST", mode=b"navigate"), False),
        (request(mode=b"cors", fields=b"Accept: text/html\r\n"), False),
        (request(mode=b"no-cors"), False),
        (request(mode=b"websocket", fields=WEBSOCKET), False),
        (request(mode=b"navigate", fields=WEBSOCKET), False),
        (request(fields=b"Accept: text/html,*/*\r\n"), True),
        (request(fields=b"Accept: */*\r\n"), False),
        (request(), False),
        (request(fields=b"Accept: text/html\r\nX-Requested-With: XMLHttpRequest\r\n"), False),
    ],
)
def test_what_counts_as_a_person_opening_the_address(head: RequestHead, expected: bool) -> None:
    assert is_navigation(head) is expected


@pytest.mark.parametrize(("method", "fields"), [(b"GET", b""), (b"GET", WEBSOCKET), (b"POST", b"")])
def test_a_program_with_a_token_comes_from_no_page_and_a_page_from_its_own(
    method: bytes, fields: bytes
) -> None:
    assert of_another_page(request(method, fields=fields), OWN) == ""
    for origin, site in itertools.product(ORIGINS, SITES):
        if (origin, site) != (None, None):
            asked = request(method, origin, site, fields=fields)
            assert of_another_page(asked, OWN) == refusal(asked, OWN)
