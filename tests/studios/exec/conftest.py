"""`studios exec` as a program of its own, and the place where its commands run."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from tests.support.exec_place import ExecPlace, exec_place
from tests.support.fake_api import TOKEN, FakeApi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[3]
SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Ended:
    """How it went."""

    code: int
    out: bytes
    err: str


class Studios:
    """Starts `studios …` against the fake control plane."""

    def __init__(self, api: FakeApi, place: ExecPlace, home: Path) -> None:
        self.api = api
        self.place = place
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "STUDIOS_URL": api.url,
            "STUDIOS_TOKEN": TOKEN,
            "TERM": "xterm-test",
            "COLUMNS": "200",
        }

    async def start(
        self,
        *arguments: str | bytes,
        stdin: int | IO[bytes] = asyncio.subprocess.DEVNULL,
        stdout: int | IO[bytes] = asyncio.subprocess.PIPE,
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "studios", "exec", *arguments),
            env=self.environment,
            stdin=stdin,
            stdout=stdout,
            stderr=asyncio.subprocess.PIPE,
        )

    async def __call__(
        self, *arguments: str | bytes, typed: bytes | None = None, stdin: IO[bytes] | None = None
    ) -> Ended:
        """Run it to its end."""
        given = stdin or (asyncio.subprocess.DEVNULL if typed is None else asyncio.subprocess.PIPE)
        return await ended(await self.start(*arguments, stdin=given), typed)


async def ended(process: asyncio.subprocess.Process, typed: bytes | None = None) -> Ended:
    """Wait for its end, which must come."""
    try:
        async with asyncio.timeout(SECONDS_MAX):
            out, err = await process.communicate(typed)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, out or b"", err.decode())


@pytest.fixture
async def studios(api: FakeApi, tmp_path: Path) -> AsyncIterator[Studios]:
    async with exec_place(tmp_path) as place:
        api.exec_url = place.url
        api.have("1234abcd", "demo", "running")
        yield Studios(api, place, tmp_path)
