"""Questions answered without a server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given, strategies as st

from control_plane.config import InvalidConfigError, embedded, from_environment
from control_plane.login import opaque
from control_plane.login.cookies import PageCookie
from control_plane.login.redirects import parse_path, parse_session_host

HERE = "http://studio.localhost:9191"


PIECES = st.sampled_from(
    ["/", "\\", "evil.example", "http:", "@", "?", "#", "%2f", "\t", "\r\n", "\x7f", " ", "é", "."]
)


@given(st.lists(PIECES, min_size=1, max_size=4).map("".join))
def test_a_parsed_path_never_leads_to_another_host(text: str) -> None:
    path = parse_path(text)
    if path is not None:
        assert urlsplit(urljoin(HERE, path)).netloc == "studio.localhost:9191"
        assert path.isascii()
        assert path.isprintable()


@pytest.mark.parametrize("text", ["/", "/lab", "/lab/tree/a%20b?x=1#y", "/a//b", "/%2F%2Fevil"])
def test_paths_stay_as_they_are(text: str) -> None:
    assert parse_path(text) == text


@pytest.mark.parametrize(
    "text",
    ["", "lab", "//evil.example", "/\\evil.example", "/\t/evil.example", "/a b", "http://x/", "/é"],
)
def test_what_is_no_path_is_refused(text: str) -> None:
    assert parse_path(text) is None


@given(st.from_regex(r"a[0-9a-f]{8}", fullmatch=True))
def test_hosts_of_sessions_are_recognized(label: str) -> None:
    assert parse_session_host(f"{label}.x.example", "x.example") == label[1:]
    assert parse_session_host(f"{label}.x.example\n", "x.example") is None


def test_every_cookie_of_our_name_is_read_in_order() -> None:
    cookie = PageCookie(secure=False)
    headers = ["a=1; studio-page=one; studio-page=two", 'studio-page="three";studio-page=one']
    assert cookie.values(headers) == ["one", "two", "three"]
    assert cookie.values(["__Host-studio-page=x; studio-pagex=y; studio-page"]) == []
    many = ["; ".join(f"studio-page={number}" for number in range(100))]
    assert len(cookie.values(many)) == 8


def test_credentials_are_long_unlike_and_hidden() -> None:
    made = {opaque.generate("p_").reveal() for _ in range(100)}
    assert len(made) == 100
    assert all(len(text) >= 43 and text.startswith("p_") for text in made)
    assert "p_" not in repr(opaque.generate("p_"))


def test_the_environment_is_read_into_a_valid_config() -> None:
    config = from_environment(
        {
            "STUDIOS_DATA_DIR": "/srv/studios",
            "STUDIOS_PUBLIC_URL": "https://studio.example.org/",
            "STUDIOS_LISTEN": "0.0.0.0:8000",
        }
    )
    assert config.connect_domain == "studio.example.org"
    assert config.session_url("1234abcd") == "https://a1234abcd.studio.example.org/"
    assert (config.host, config.port, config.unix_socket) == ("0.0.0.0", 8000, None)
    assert config.database_url == "sqlite+aiosqlite:////srv/studios/studios.db"
    assert config.is_https


@pytest.mark.parametrize(
    "environment",
    [
        {"STUDIOS_LISTEN": "nowhere"},
        {"STUDIOS_LISTEN": "host:port"},
        {"STUDIOS_LISTEN": "host:70000"},
        {"STUDIOS_PUBLIC_URL": "studio.example.org"},
        {"STUDIOS_PUBLIC_URL": "https://studio.example.org/path"},
        {"STUDIOS_EDGE_URLS": "ftp://x"},
        {"STUDIOS_CONNECT_DOMAIN": "a/b"},
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str]) -> None:
    with pytest.raises(InvalidConfigError):
        from_environment(environment)


def test_embedded_listens_on_its_socket_only() -> None:
    config = embedded(data_dir=Path("/srv/d"), images_dir=Path("images"), port=9000)
    assert config.unix_socket == Path("/srv/d/control-plane.sock")
    assert config.port is None
    assert config.public_url == "http://studio.localhost:9000"
    assert config.work_dir == "file:///srv/d/work"
