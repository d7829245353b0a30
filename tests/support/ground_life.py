"""The life of a ground, and whether it keeps its promises in it: `python -m` this, with arguments.

It is a process of its own because a session is made only by one that has precautions taken: its
mounts become its own, which can't be undone. The last line that it prints is JSON: for each claim
what is wrong with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import uvloop

from agent.ground import SessionGround
from agent.host_state import HostState
from agent.orphans import OrphanReaper, become_subreaper
from agent.root.precautions import take_precautions
from common.clock import SystemClock
from common.session_spec import SessionSettings
from tests.support import enter_contract, ground_contract
from tests.support.agent_rig import free_port, session_spec, session_tool, tool_spec
from tests.support.ground_stand import CLAIM_SECONDS_MAX, CLAIMS, SECRET, Stand
from tests.support.plain_ground import PlainGround

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

    from agent.parts import LayGround
    from common.session_spec import ToolSpec
    from tests.support.ground_stand import Claim

Kind = Literal["plain", "session"]
CONTRACT = (ground_contract, enter_contract)
"""Importing them has filled CLAIMS."""


def promises() -> list[str]:
    return CLAIMS.names()


def main(kind: str, folder: Path) -> None:
    os.environ[SECRET] = "of the agent"
    become_subreaper()
    lay: LayGround = PlainGround().laid
    tool = tool_spec(folder, "")
    if kind == "session":
        take_precautions()
        lay, tool = SessionGround, session_tool(folder, "")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        found = runner.run(_live(lay, folder, tool))
    print(json.dumps(found))  # noqa: T201


async def _live(lay: LayGround, folder: Path, tool: ToolSpec) -> dict[str, str]:
    host = HostState(folder / "state")
    host.folder.mkdir(mode=0o700)
    ground = lay(
        session_spec(folder, tool, url="", grace_seconds=1),
        host,
        given=(),
        warnings=(),
        settings=SessionSettings,
        clock=SystemClock(),
        on_change=lambda: None,
    )
    async with asyncio.TaskGroup() as group:
        reaping = group.create_task(OrphanReaper().run(SystemClock()))
        found = await _tried_all(Stand(ground, tool.working_directory, free_port()))
        reaping.cancel()
    return found


async def _tried_all(stand: Stand) -> dict[str, str]:
    read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def take() -> None:
        stand.printed += os.read(read, 65536)

    loop = asyncio.get_running_loop()
    loop.add_reader(read, take)
    found = await _tried(CLAIMS.unmade, stand)
    try:
        await stand.ground.make(output_fd=write)
        found |= await _tried(CLAIMS.made, stand)
    finally:
        await stand.ground.leave()
        await stand.ground.detach()
    found |= await _tried(CLAIMS.left, stand)
    loop.remove_reader(read)
    return found


async def _tried(claims: Iterable[Claim], stand: Stand) -> dict[str, str]:
    found: dict[str, str] = {}
    for claim in claims:
        stand.printed = b""
        found[claim.__name__] = await _problem(claim(stand))
        await stand.ground.end_all(0)
    return found


async def _problem(claim: Awaitable[None]) -> str:
    try:
        async with asyncio.timeout(CLAIM_SECONDS_MAX):
            await claim
    except Exception:  # noqa: BLE001 - whatever is wrong with it
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
