"""What the control plane, or the way to it, says no with: one sentence and a code of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.fake_api import TOKEN

if TYPE_CHECKING:
    from tests.studios.conftest import Studios
    from tests.support.fake_api import FakeApi


@pytest.mark.parametrize(
    ("refusal", "exit_code", "sentence"),
    [
        ((403, "Only Maintain and above may do that."), 4, "Only Maintain and above may do that."),
        ((409, "It is stopping: wait until it is."), 1, "It is stopping: wait until it is."),
        ((503, "The engine is away: try again."), 5, "The engine is away: try again."),
        ((500, ""), 1, "answered 500"),
    ],
)
async def test_refusals_become_one_sentence_and_a_code(
    studios: Studios, api: FakeApi, refusal: tuple[int, str], exit_code: int, sentence: str
) -> None:
    api.refuse = refusal
    result = await studios("list")
    assert result.exit_code == exit_code
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


async def test_a_refused_token_says_how_to_log_in(studios: Studios, api: FakeApi) -> None:
    environ = {"STUDIOS_URL": api.url, "STUDIOS_TOKEN": "old"}
    result = await studios("list", environ=environ)
    assert result.exit_code == 4
    assert "studios login" in result.stderr
    assert "old" not in result.stderr


async def test_nobody_listening_is_unreachable(studios: Studios) -> None:
    # Port 1 is tcpmux, which no machine of today serves.
    environ = {"STUDIOS_URL": "http://studio.localhost:1", "STUDIOS_TOKEN": TOKEN}
    result = await studios("list", environ=environ)
    assert result.exit_code == 5
    assert "http://studio.localhost:1 can't be reached (Connection refused)" in result.stderr


@pytest.mark.parametrize("url", ["ftp://x", "nonsense", "http://", "http://[x", "http://x:port"])
async def test_something_else_than_a_url_is_said_so(studios: Studios, url: str) -> None:
    result = await studios("list", environ={"STUDIOS_URL": url, "STUDIOS_TOKEN": TOKEN})
    assert result.exit_code == 2
    assert "STUDIOS_URL" in result.stderr
