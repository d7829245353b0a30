"""The file systems that the same work is done on, from the machine's disk up to a session's root.

    the machine's disk
    an overlay on it             what Docker and Podman give a container
    the volume                   btrfs on a file on that disk, by a loop device
    an overlay on the volume     a session, with all its walls

All stand at the same time, each with a workbench on it; idle ones cost nothing that shows.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from agent.root.address import SessionAddress
from agent.supervisor.plain_http import NoAnswerError, get
from agent.volume.attachment import ACTIVE
from agent.volume.loop_volume import MOUNT_NAME
from bench import place, workbench
from bench.agents import agent
from bench.processes import BenchError, Child, child, free_port
from bench.specs import new_session_id, session_spec
from common.http1.lane import TcpAddress
from common.session_spec import ToolSpec
from common.wire import MalformedMessageError, decode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from common.http1.lane import Address

DISK = "disk"
OVERLAY = "overlay on it"
VOLUME = "volume"
SESSION = "session"

_PYTHON = "/usr/bin/python3"  # every session sees it
_WORK_SECONDS_MAX = 600.0
_OK = 200
_HERE = "127.0.0.1"
_SESSION_FOLDER = Path("/workspace/bench")


@dataclass(frozen=True, slots=True)
class Place:
    """One file system, and how to have work done on it."""

    name: str
    process: Child
    address: Address
    folder: Path
    """For the work's files, as the workbench sees it."""
    image: Path | None
    """Where it shows the machine's /usr, if it does."""

    async def work(self, name: str, folder: Path | None = None, **wishes: str) -> dict[str, float]:
        """Have work done; return its rates. Raise BenchError with what went wrong."""
        query = urlencode({"work": name, "folder": str(folder or self.folder), **wishes})
        try:
            status, body = await get(self.address, f"/?{query}", limit_seconds=_WORK_SECONDS_MAX)
            if status == _OK:
                return decode(body, dict[str, float])
            raise BenchError(f"{name} on the {self.name} failed: {body.decode(errors='replace')}")
        except (NoAnswerError, MalformedMessageError) as error:
            self.process.must_run()
            raise BenchError(f"{name} on the {self.name} failed: {error}") from None


@asynccontextmanager
async def open_places(scratch: Path) -> AsyncIterator[tuple[Place, ...]]:
    """Make all of them below `scratch` while inside."""
    program = scratch / "workbench.py"
    shutil.copyfile(workbench.__file__, program)
    async with AsyncExitStack() as stack:
        yield (
            await _disk(scratch, program, stack),
            await _overlay(scratch, program, stack),
            await _volume(scratch, program, stack),
            await _session(scratch, program, stack),
        )


def in_turn(places: tuple[Place, ...], rounds: int) -> Iterator[tuple[int, Place]]:
    """Yield round, from 1, and place: each once a round, another one first each time."""
    for number in range(rounds):
        first = number % len(places)
        for one in places[first:] + places[:first]:
            yield number + 1, one


async def _disk(scratch: Path, program: Path, stack: AsyncExitStack) -> Place:
    process, address = await _start("disk", (_PYTHON, "-I", str(program)), scratch, stack)
    return Place(DISK, process, address, scratch / "disk", place.LOWER)


async def _overlay(scratch: Path, program: Path, stack: AsyncExitStack) -> Place:
    folder = scratch / place.OVERLAY
    process, address = await _start(
        place.OVERLAY, _within(place.OVERLAY, folder, program), scratch, stack
    )
    merged = folder / place.MERGED_NAME
    return Place(OVERLAY, process, address, merged / "bench", merged)


async def _volume(scratch: Path, program: Path, stack: AsyncExitStack) -> Place:
    folder = scratch / place.VOLUME
    process, address = await _start(
        place.VOLUME, _within(place.VOLUME, folder, program), scratch, stack
    )
    return Place(VOLUME, process, address, folder / MOUNT_NAME / ACTIVE / "bench", None)


def _within(kind: str, folder: Path, program: Path) -> tuple[str, ...]:
    folder.mkdir()
    role = (sys.executable, "-m", "bench.place", kind, str(folder))
    return (*role, _PYTHON, "-I", str(program))


async def _start(
    name: str, command: tuple[str, ...], scratch: Path, stack: AsyncExitStack
) -> tuple[Child, Address]:
    port = free_port()
    process = await stack.enter_async_context(child(name, *command, str(port), folder=scratch))
    await process.listening(port)
    return process, TcpAddress(_HERE, port)


async def _session(scratch: Path, program: Path, stack: AsyncExitStack) -> Place:
    tool = ToolSpec(
        name="Workbench",
        command=(_PYTHON, "-I", str(program), "${CONNECT_TOOL_PORT}"),
        port=free_port(),
        working_directory=str(_SESSION_FOLDER),
    )
    one = await stack.enter_async_context(agent(scratch, session_spec(new_session_id(), tool)))
    await one.running()
    network_fd = os.open(f"/proc/{one.first_process()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, network_fd)
    address = SessionAddress(network_fd, _HERE, tool.port)
    return Place(SESSION, one.process, address, _SESSION_FOLDER, place.LOWER)
