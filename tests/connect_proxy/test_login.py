"""Where a sign-in may lead back to."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given, strategies as st

from connect_proxy.login import safe_return

HERE = "http://a1234abcd.studio.localhost:9191"


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "/lab",
        "/lab/tree/a%20b.ipynb?reset",
        "/?a=1&b=2+3",
        "/a%2Fb%5Cc%0d",
        "/a//b",
        "/(x)/[y]/~z;p=1,2!$'*@:",
        "/#frag",
        "/?next=//evil.example",
    ],
)
def test_a_path_on_this_host_is_kept_as_it_is(target: str) -> None:
    assert safe_return(target) == target


@pytest.mark.parametrize(
    "target",
    [
        "",
        "lab",
        "//evil.example",
        "///evil.example",
        "//evil.example/%2f..",
        "/\\evil.example",
        "\\\\evil.example",
        "/a\\b",
        "/\t/evil.example",
        "/\n/evil.example",
        "\t//evil.example",
        " //evil.example",
        "/ /evil.example",
        "/\r\nSet-Cookie: a=b",
        "/\x00",
        "/\x7f",
        "http://evil.example",
        "https:evil.example",
        "javascript:alert(1)",
        "?x",
        "@evil.example",
        ".evil.example",
        ":80@evil.example",
    ],
)
def test_everything_that_could_lead_elsewhere_becomes_the_root(target: str) -> None:
    assert safe_return(target) == "/"


def test_what_is_not_ascii_is_escaped() -> None:
    assert safe_return('/é\u2028<>"{}|^`') == "/%C3%A9%E2%80%A8%3C%3E%22%7B%7D%7C%5E%60"


pieces = st.lists(
    st.sampled_from(
        ["/", "//", "\\", "evil.example", ":", "@", "%2f", "%5c", "%09", "\t", "\n", "\r", " ", "?",
         "#", "..", ".", "http:", "a", "\u3002", "\uff0f", "\x00", "\xa0", ";", "&"]
    ),
    max_size=8,
).map("".join)  # fmt: skip


@given(st.text(max_size=20) | pieces)
def test_no_target_leaves_the_host_or_breaks_the_field(target: str) -> None:
    result = safe_return(target)
    assert result.startswith("/")
    assert not result.startswith("//")
    assert all(0x21 <= ord(character) < 0x7F for character in result)
    assert "\\" not in result
    # browsers drop tabs and newlines and read a backslash as a slash: neither is there
    assert urlsplit(urljoin(HERE + "/_connect/callback", result)).netloc == urlsplit(HERE).netloc
    assert safe_return(result) == result
