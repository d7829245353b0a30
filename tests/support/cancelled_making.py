"""The making of a session, cancelled at many moments: `python -m` this, with a folder.

A process of its own, like `ground_life`. The last line that it prints is JSON: what was left each
time, or went wrong.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

import uvloop

from agent.ground import SessionGround
from agent.host_state import HostState
from agent.orphans import become_subreaper
from agent.root.precautions import take_precautions
from common.clock import SystemClock
from tests.support.agent_rig import session_spec, session_tool
from tests.support.seen_session import cgroups_of, left_of

MOMENTS = 16


def main(folder: Path) -> None:
    become_subreaper()
    take_precautions()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_all(folder))
    print(json.dumps(found))  # noqa: T201


async def _all(folder: Path) -> list[list[str]]:
    """Make it once for the modules it loads, once to see how long it takes, and then in parts."""
    loop = asyncio.get_running_loop()
    await _made_and_left(folder / "first", None)
    begun = loop.time()
    await _made_and_left(folder / "second", None)
    whole = loop.time() - begun
    return [
        await _made_and_left(folder / f"cut-{moment}", whole * moment / MOMENTS)
        for moment in range(MOMENTS)
    ]


async def _made_and_left(place: Path, limit_seconds: float | None) -> list[str]:
    """Make a session, for so long, and take away what there is then; return what is left."""
    host = HostState(place / "state")
    host.folder.mkdir(mode=0o700, parents=True)
    spec = session_spec(place, session_tool(place, ""), url="", grace_seconds=1)
    ground = SessionGround(spec, host, clock=SystemClock(), on_change=lambda: None)
    read, write = os.pipe2(os.O_CLOEXEC)
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_seconds):
            await ground.make(output_fd=write)
    problems = []
    for act in (ground.leave, ground.detach):
        try:
            await act()
        except Exception as error:  # noqa: BLE001 - whatever is wrong
            problems.append(repr(error))
    os.close(read)
    os.close(write)
    return [*problems, *left_of(place), *map(str, cgroups_of(spec.session_id))]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
