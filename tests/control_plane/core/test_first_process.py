"""Gone is answered when the session's first process is gone, too; nobody else is ever touched."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import TYPE_CHECKING

import pytest

from control_plane.engines.engine import Alive, EngineUnavailableError, Gone, Unknown
from control_plane.engines.launch import start_ticks
from tests.control_plane.core.engine_contract import SESSION, gone, job_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.control_plane.core.local_rig import LocalRig


@pytest.fixture
async def stray() -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that nothing ends but a signal."""
    process = await asyncio.create_subprocess_exec("sleep", "600", start_new_session=True)
    yield process
    if process.returncode is None:
        process.kill()
    await process.wait()


def note(folder: Path, pid: int, started: int | None = None) -> None:
    facts = {"pid": pid, "startTicks": start_ticks(pid) if started is None else started}
    (folder / "session.pid").write_text(json.dumps(facts))


async def crashed(local: LocalRig, run: int = 1) -> Path:
    """Return the folder of a session whose agent came up and was killed; nobody has looked yet."""
    job = await local.engine.submit(local.spec(SESSION, run))
    await local.is_up(job)
    local.crash(job)
    async with asyncio.timeout(10):
        while local.left(SESSION):
            await asyncio.sleep(0)
    return local.folder / SESSION


async def test_nothing_of_a_session_that_is_gone_lives(local: LocalRig) -> None:
    job = await local.engine.submit(local.spec(SESSION, 1))
    await local.is_up(job)
    assert local.left(SESSION) == 2
    local.crash(job)
    await gone(local, job)
    assert local.left(SESSION) == 0
    assert not (local.folder / SESSION / "session.pid").exists()


async def test_first_process_that_outlives_its_agent_is_ended_before_gone(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    note(await crashed(local), stray.pid)
    assert isinstance(await local.engine.observe(job_of(1)), Unknown)
    await gone(local, job_of(1))
    assert await stray.wait() == -signal.SIGKILL


async def test_next_run_waits_for_the_first_process_of_the_previous(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    note(await crashed(local), stray.pid)
    with pytest.raises(EngineUnavailableError):
        await local.engine.submit(local.spec(SESSION, 2))
    assert await stray.wait() == -signal.SIGKILL
    await local.engine.submit(local.spec(SESSION, 2))
    assert isinstance(await local.engine.observe(job_of(2)), Alive)


async def test_run_that_never_began_is_not_gone_while_the_previous_session_lives(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    note(await crashed(local), stray.pid)
    assert isinstance(await local.engine.observe(job_of(2)), Unknown)
    await gone(local, job_of(2))
    assert await stray.wait() == -signal.SIGKILL


async def test_forget_waits_for_the_first_process(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    folder = await crashed(local)
    note(folder, stray.pid)
    with pytest.raises(EngineUnavailableError):
        await local.engine.forget(SESSION)
    assert await stray.wait() == -signal.SIGKILL
    await local.engine.forget(SESSION)
    assert not folder.exists()


async def test_note_of_another_boot_names_nobody(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    folder = await crashed(local)
    record = json.loads((folder / "job.json").read_text())
    (folder / "job.json").write_text(json.dumps(record | {"boot_id": "another"}))
    note(folder, stray.pid)
    assert await local.engine.observe(job_of(1)) == Gone("the machine was restarted")
    assert not (folder / "session.pid").exists()
    # nor will it after the next run, whose record is of this boot
    await local.engine.submit(local.spec(SESSION, 2))
    os.kill(local.pid(SESSION), signal.SIGKILL)
    await gone(local, job_of(2))
    assert stray.returncode is None


async def test_pid_that_was_given_away_is_left_alone(
    local: LocalRig, stray: asyncio.subprocess.Process
) -> None:
    started = start_ticks(stray.pid)
    assert started is not None
    note(await crashed(local), stray.pid, started - 1)
    assert isinstance(await local.engine.observe(job_of(1)), Gone)
    assert stray.returncode is None


@pytest.mark.parametrize("text", ["", '{"pid": 1', '{"pid": "1"}', "[]", "\0"])
async def test_note_that_can_not_be_read_names_nobody(local: LocalRig, text: str) -> None:
    folder = await crashed(local)
    (folder / "session.pid").write_text(text)
    assert isinstance(await local.engine.observe(job_of(1)), Gone)
