"""The command line against a fake control plane."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest
from click.testing import CliRunner

from studios import config
from studios.__main__ import cli
from studios.surroundings import Surroundings
from tests.support.checkpoint_commands import furnish
from tests.support.fake_api import TOKEN, FakeApi, serving
from tests.support.hurried_clock import HurriedClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from click.testing import Result


class Studios(Protocol):
    """Runs `studios …` as a person would, and returns what it printed and its exit code."""

    async def __call__(
        self, *arguments: str, typed: str = "", environ: dict[str, str] | None = None
    ) -> Result: ...


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with serving(FakeApi()) as fake:
        yield fake


@pytest.fixture
async def work(tmp_path: Path) -> Path:
    """A work directory with checkpoints `aaa…`, of two generations, and `bbb…`."""
    folder = tmp_path / "work"
    folder.mkdir()
    await furnish(folder)
    return folder


@pytest.fixture
def clock() -> HurriedClock:
    return HurriedClock()


@pytest.fixture
def studios(api: FakeApi, clock: HurriedClock, tmp_path: Path) -> Studios:
    logged_in = {"STUDIOS_URL": api.url, "STUDIOS_TOKEN": TOKEN}

    async def run(
        *arguments: str, typed: str = "", environ: dict[str, str] | None = None
    ) -> Result:
        settings = config.parse(
            {
                "HOME": str(tmp_path / "home"),
                "STUDIOS_DATA_DIR": str(tmp_path / "data"),
                **(logged_in if environ is None else environ),
            }
        )
        # A thread of its own, because commands bring their own event loop.
        return await asyncio.to_thread(
            CliRunner().invoke,
            cli,
            arguments,
            input=typed,
            obj=Surroundings(settings=settings, clock=clock, program="studios"),
        )

    return run
