"""Which host is which session."""

from __future__ import annotations

import pytest

from connect_proxy.routing import PlatformRoute, SessionRoute, UnknownRoute, route

DOMAIN = "studio.localhost:9191"


@pytest.mark.parametrize(
    "host", [b"a1234abcd.studio.localhost:9191", b"A1234ABCD.Studio.LocalHost:9191"]
)
def test_a_session_has_a_host_of_its_own_in_any_case(host: bytes) -> None:
    assert route(host, DOMAIN) == SessionRoute("1234abcd", "a1234abcd.studio.localhost:9191")  # type: ignore[arg-type]


def test_the_domain_itself_is_the_platform() -> None:
    assert route(b"Studio.localhost:9191", DOMAIN) == PlatformRoute()


@pytest.mark.parametrize(
    "host",
    [
        b"",
        b"localhost:9191",
        b"studio.localhost",
        b"studio.localhost:80",
        b"studio.localhost:9191.",
        b"a1234abcd.studio.localhost",
        b"a1234abcd.studio.localhost:9192",
        b"a1234abcd.studio.localhost.:9191",
        b"b1234abcd.studio.localhost:9191",
        b"1234abcd.studio.localhost:9191",
        b"a1234abc.studio.localhost:9191",
        b"a1234abcde.studio.localhost:9191",
        b"a1234abcg.studio.localhost:9191",
        b"aa1234abcd.studio.localhost:9191",
        b"x.a1234abcd.studio.localhost:9191",
        b"a1234abcd.evil.studio.localhost:9191",
        b"a1234abcd.studio.localhost:9191@evil",
        b"user@a1234abcd.studio.localhost:9191",
        b"a1234abcd.studio.localhost:9191:80",
        b"a1234abcd .studio.localhost:9191",
        b"a1234abcd.studio.localhost:9191/",
        b"a1234abcd.studio.localhost:9191\xe9",
        b"a\xef\xbc\x91234abcd.studio.localhost:9191",
    ],
)
def test_every_other_host_is_nobody_s(host: bytes) -> None:
    assert route(host, DOMAIN) == UnknownRoute()
