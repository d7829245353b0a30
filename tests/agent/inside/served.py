"""What a desk in a test speaks of, and clients of it."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agent.desired import Obeyed
from agent.inside.desk import Desk
from agent.inside.view import View
from common.ids import RunNumber, SessionId
from common.messages import RunPhase, StatusReport, ToolPhase, ToolStatus, VolumeStatus
from common.secret import Secret
from common.session_spec import (
    SPEC_VERSION,
    SessionSettings,
    SessionSpec,
    ToolSpec,
    VolumeLimits,
    WorkDirectory,
)
from tests.support.fake_control_plane import FakeControlPlane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from common.clock import Clock

GB = 1024**3
RUN = RunNumber(3)
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ANSWER_SECONDS_MAX = 20.0  # only bounds a failing test

SPEC = SessionSpec(
    version=SPEC_VERSION,
    session_id=SessionId("a1b2c3d4"),
    run_number=RUN,
    studio_name="genome",
    control_plane_url="http://127.0.0.1:1",
    edge_urls=(),
    session_host="aa1b2c3d4.studio.localhost",
    agent_token=Secret("agent-token"),
    token_keys="",
    tool=ToolSpec(name="jupyterlab", command=("true",), port=8888, working_directory="/workspace"),
    environment={},
    host_state_dir="/nowhere",
    work_directory=WorkDirectory(url="file:///nowhere"),
)

REPORT = StatusReport(
    session_id=SPEC.session_id,
    run_number=RUN,
    sequence=1,
    sent_at=NOON,
    phase=RunPhase.RUNNING,
    tool=ToolStatus(phase=ToolPhase.READY),
    volume=VolumeStatus(size_bytes=2 * GB, free_bytes=3 * GB // 2, limit_bytes=30 * GB),
)
OBEYED = Obeyed(
    run_number=RUN,
    settings=SessionSettings(),
    token=SPEC.agent_token,
    token_keys="",
    version=1,
    deadline=NOON,
)


@dataclass
class Subject:
    """What the parts of an agent would say. Tests change it."""

    report: StatusReport = REPORT
    obeyed: Obeyed = OBEYED
    control_plane: FakeControlPlane = field(default_factory=FakeControlPlane)

    def say(self, **changes: Any) -> None:
        self.report = msgspec.structs.replace(self.report, **changes)

    def obey(self, **changes: Any) -> None:
        self.obeyed = replace(self.obeyed, **changes)

    def view(self, now: datetime = NOON, since: datetime = NOON) -> View:
        return View(
            studio_name=SPEC.studio_name,
            tool_name=SPEC.tool.name,
            limits=VolumeLimits(),
            since=since,
            now=now,
            report=self.report,
            obeyed=self.obeyed,
        )

    def desk(self, folder: Path, clock: Clock) -> Desk:
        return Desk(
            SPEC,
            folder,
            observe=lambda: self.report,
            obeyed=lambda: self.obeyed,
            extend=self.control_plane.extend,
            clock=clock,
        )


@asynccontextmanager
async def serving(desk: Desk) -> AsyncIterator[None]:
    """Open a desk and run it beside the block."""
    await desk.open()
    async with running(desk):
        yield


@asynccontextmanager
async def running(desk: Desk) -> AsyncIterator[None]:
    """Run a desk that is open, and close it."""
    task = asyncio.get_running_loop().create_task(desk.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})
        await desk.close()
        assert task.cancelled()


async def connect(desk: Desk) -> socket.socket:
    """Connect to a desk by its folder's descriptor: the path may be too long for an address."""
    path = Path(desk.given[0])
    folder = os.open(path.parent, os.O_PATH)
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(client, f"/proc/self/fd/{folder}/{path.name}")
    except BaseException:
        client.close()
        raise
    finally:
        os.close(folder)
    return client


async def read_all(client: socket.socket) -> bytes:
    """Return all that comes until the other end closes."""
    loop = asyncio.get_running_loop()
    received = b""
    async with asyncio.timeout(ANSWER_SECONDS_MAX):
        while part := await loop.sock_recv(client, 65536):
            received += part
    return received


async def ask(desk: Desk, *parts: bytes) -> bytes:
    """Send the parts of a request one by one, and return the answer."""
    with await connect(desk) as client:
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(client, part)
        return await read_all(client)
