"""Which control plane commands talk to, with which token, and how `login` remembers it."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from studios.credentials import load
from tests.support.fake_api import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.studios.conftest import Studios
    from tests.support.fake_api import FakeApi


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    return tmp_path / "home" / ".config" / "studios" / "credentials"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def test_login_is_remembered_readable_by_its_owner_only(
    studios: Studios, api: FakeApi, credentials: Path
) -> None:
    result = await studios("login", api.url, "--token", TOKEN, environ={})
    assert result.exit_code == 0, result.stderr
    assert "as admin" in result.stderr
    assert (mode(credentials), mode(credentials.parent)) == (0o600, 0o700)
    assert (await studios("list", environ={})).exit_code == 0


async def test_login_asks_for_the_token(studios: Studios, api: FakeApi) -> None:
    result = await studios("login", f"{api.url}/", typed=f"{TOKEN}\n", environ={})
    assert result.exit_code == 0, result.stderr
    assert TOKEN not in result.output
    assert (await studios("list", environ={})).exit_code == 0


async def test_a_wrong_token_is_not_remembered(
    studios: Studios, api: FakeApi, credentials: Path
) -> None:
    result = await studios("login", api.url, "--token", "wrong", environ={})
    assert result.exit_code == 4
    assert load(credentials) is None


@pytest.mark.parametrize("address", [(), ("studio.localhost",), ("ftp://x",)])
async def test_login_wants_an_address(studios: Studios, address: tuple[str, ...]) -> None:
    result = await studios("login", *address, "--token", TOKEN, environ={})
    assert result.exit_code == 2
    assert "studios login http://" in result.stderr


async def test_without_any_address_the_next_step_is_named(studios: Studios) -> None:
    result = await studios("list", environ={})
    assert result.exit_code == 4
    assert "studios login" in result.stderr
    assert "studios up" in result.stderr


async def test_a_stored_token_is_not_sent_to_another_address(
    studios: Studios, api: FakeApi
) -> None:
    await studios("login", api.url, "--token", TOKEN, environ={})
    result = await studios("list", environ={"STUDIOS_URL": "http://studio.localhost:1"})
    assert result.exit_code == 4
    assert "no token for http://studio.localhost:1" in result.stderr


async def test_the_data_folder_of_this_machine_just_works(
    studios: Studios, api: FakeApi, tmp_path: Path
) -> None:
    write(tmp_path / "data" / "admin-token", f"{TOKEN}\n")
    write(tmp_path / "data" / "url", f"{api.url}\n")
    assert (await studios("list", environ={})).exit_code == 0
    assert (await studios("list", environ={"STUDIOS_URL": api.url})).exit_code == 0


async def test_damaged_credentials_are_said_so(studios: Studios, credentials: Path) -> None:
    write(credentials, "{")
    result = await studios("list", environ={})
    assert result.exit_code == 1
    assert "studios login" in result.stderr


async def test_link_prints_a_one_time_link_and_nothing_else(studios: Studios, api: FakeApi) -> None:
    api.users.append({"id": 2, "userName": "maria", "role": "launch"})
    assert (await studios("login", "--link")).stdout == f"{api.url}/login?token=once-1\n"
    assert (await studios("login", "--link", "maria")).stdout == f"{api.url}/login?token=once-2\n"
    shown = json.loads((await studios("login", "--link", "-o", "json")).stdout)
    assert shown == {"loginUrl": f"{api.url}/login?token=once-1"}
    assert (await studios("login", "--link", "nobody")).exit_code == 3
