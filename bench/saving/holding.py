"""The memory that an agent's processes hold: its own, and those that it started for the session.

Not those of the session: its first process is the agent's, the tool is not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import psutil

from agent.checkpointing.capture import IDLE_CAPTURES_MAX
from bench.processes import BenchError, peak_bytes
from bench.saving.samples import Memory
from bench.saving.studio import Studio

if TYPE_CHECKING:
    from pathlib import Path

    from bench.checkpoints.tools import Store
    from bench.saving.samples import Samples

_REST_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.1


async def measure(folder: Path, store: Store, samples: Samples) -> None:
    """See what a session's agent holds that has saved some files, and then nothing for a while.

    Not after everyday work: what that has made superfluous in the store, the process that saves
    would stay for, to delete it ten minutes later.
    """
    async with Studio(folder, store).session() as session:
        await session.save()
        await session.do("change", seed="1")
        await session.save()
        pid = session.agent.process.pid
        before = count(pid)
        for _ in range(IDLE_CAPTURES_MAX):
            await session.save()
        await rested(pid, before)
        samples.idle.append(held(pid))
        await session.stop()


def held(pid: int) -> Memory:
    """Return what the processes of the agent `pid` hold at this moment."""
    found = [process.memory_full_info() for process in _processes(pid)]
    return Memory(sum(each.rss for each in found), sum(each.pss for each in found))


def peaks(pid: int) -> int:
    """Return the most that each of them ever had resident, added up: no less than the peak."""
    return sum(peak_bytes(process.pid) for process in _processes(pid))


def count(pid: int) -> int:
    return len(_processes(pid))


async def rested(pid: int, count_before: int) -> None:
    """Wait until there are fewer of them: the one that saves has been ended."""
    try:
        async with asyncio.timeout(_REST_SECONDS_MAX):
            while count(pid) >= count_before:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(_POLL_SECONDS)
    except TimeoutError:
        raise BenchError("the process that saves did not end when nothing changed") from None


def _processes(pid: int) -> list[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children()]
