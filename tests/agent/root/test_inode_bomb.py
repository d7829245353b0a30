"""Small files without end fill a volume by its metadata: others don't notice, the status says it.

With whole agents, because it is a volume's monitor that says so.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

from common.messages import RunPhase
from common.session_spec import VolumeLimits
from tests.agent.root.test_bombs import ANSWERS, SLOWER_MAX
from tests.support.session_agent import MB, Studio

if TYPE_CHECKING:
    from common.messages import StatusReport
    from tests.support.session_agent import AgentRun

LIMITS = VolumeLimits(
    initial_bytes=128 * MB, free_bytes_min=8 * MB, step_bytes=8 * MB, limit_bytes=128 * MB
)
FIRST = "fallocate -l 75M /workspace/large"
"""Or it would take a minute: the fuller a small volume, the slower is what makes small files."""
BOMB = """
mkdir -p /workspace/small
/usr/bin/python3 -c '
import itertools, os
for number in itertools.count():
    with open(f"/workspace/small/{number}", "wb", 0) as file:
        file.write(b"x" * 2000)
        os.setxattr(file.fileno(), "user.more", b"x" * 3900)
' 2>&1 | tail -1
"""
"""btrfs keeps both in its metadata, beside the names."""


async def seconds_to_answer(run: AgentRun) -> float:
    taken: list[float] = []
    for _ in range(ANSWERS):
        begin = time.perf_counter()
        await run.out("echo well")
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def is_full(report: StatusReport) -> bool:
    return report.volume is not None and report.volume.full


async def test_small_files_without_end_are_told_and_disturb_nobody() -> None:
    with Studio(volume=LIMITS) as bombed, Studio() as other:
        bombed.put_on_disk(3072 * MB)  # what a new volume asks for, though it be small
        async with bombed.session() as run, other.session() as beside:
            usual = await seconds_to_answer(beside)
            await run.out(FIRST)
            assert not any(
                report.volume and report.volume.full for report in run.control_plane.reports
            )
            async with asyncio.TaskGroup() as group:
                bomb = group.create_task(run.sh(BOMB))
                taken = [await seconds_to_answer(beside)]
                while not bomb.done():
                    taken.append(await seconds_to_answer(beside))
            assert statistics.median(taken) <= SLOWER_MAX * usual
            assert "No space left on device" in bomb.result().output
            report = await run.control_plane.reported(is_full)
            assert report.volume is not None
            assert report.volume.message.startswith("the volume is at its limit of 0.125 GB")
            assert report.phase is RunPhase.RUNNING
            assert (await run.sh("echo more > /workspace/more")).code != 0
            await run.out("rm -r /workspace/small && echo more > /workspace/more")
            await run.stop()
            await beside.stop()
        bombed.assert_left_in_order()
        other.assert_left_in_order()
