"""Finds facts that only trying tells: each trial in a process of its own, all at once.

A trial that hangs, on a disk that is gone or in a driver, is left behind after its limit: the
answer then says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING

import msgspec

from agent.preflight.facts import Trial
from agent.preflight.survey import PROGRAM_PATH
from agent.root.launching import CODE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from agent.preflight.facts import TrialName

TRIAL_SECONDS_MAX = 8.0
"""Together they take half a second on an idle machine with two processors."""
_END_SECONDS_MAX = 1.0  # after SIGKILL; what still lives then hangs in the kernel
_RUN = (sys.executable, "-P", "-m", "agent.preflight.trial")
_ENVIRONMENT = {"PATH": PROGRAM_PATH, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(CODE)}


async def run_trials(
    names: Iterable[TrialName], folder: str, *, seconds_max: float = TRIAL_SECONDS_MAX
) -> dict[TrialName, Trial]:
    """Return how each of them ended; `folder` is where volumes are to lie."""
    async with asyncio.TaskGroup() as group:
        running = {
            name: group.create_task(_run(name, folder, seconds_max), name=f"trial/{name}")
            for name in sorted(names)
        }
    return {name: task.result() for name, task in running.items()}


async def _run(name: TrialName, folder: str, seconds_max: float) -> Trial:
    process = await asyncio.create_subprocess_exec(
        *_RUN,
        *(name, folder),
        cwd="/",
        env=_ENVIRONMENT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(seconds_max):
            printed, complaint = await process.communicate()
    except TimeoutError:
        return Trial(failed_at="trying it", reason=f"no end after {seconds_max:.0f} s")
    finally:
        await _end(process)
    return _parse(printed, complaint)


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_END_SECONDS_MAX):
            await process.wait()


def _parse(printed: bytes, complaint: bytes) -> Trial:
    try:
        return msgspec.json.decode(printed, type=Trial)
    except msgspec.DecodeError:
        lines = complaint.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        return Trial(failed_at="trying it", reason=lines[-1])
