"""What a desk in a test speaks of, and clients of it."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from agent.checkpointing.captures import Commit, NotSavedError
from agent.checkpointing.facts import Saved
from agent.desired import Obeyed
from agent.inside.desk import Desk
from agent.inside.saving import PAUSE_SECONDS
from agent.inside.view import View
from common.ids import RunNumber, SessionId
from common.messages import (
    CheckpointPhase,
    CheckpointStatus,
    RunPhase,
    StatusReport,
    ToolPhase,
    ToolStatus,
    VolumeStatus,
)
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
    from datetime import tzinfo

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

CHECKPOINT = CheckpointStatus(
    id="0123456789abcdef",
    phase=CheckpointPhase.INTERIM,
    generation=2,
    committed_at=NOON,
    entries=12431,
    file_bytes=GB * 6 // 5,
    parent_id="fedcba9876543210",
)
REPORT = StatusReport(
    session_id=SPEC.session_id,
    run_number=RUN,
    sequence=1,
    sent_at=NOON,
    phase=RunPhase.RUNNING,
    tool=ToolStatus(phase=ToolPhase.READY),
    volume=VolumeStatus(size_bytes=2 * GB, free_bytes=3 * GB // 2, limit_bytes=30 * GB),
    checkpoint=CHECKPOINT,
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
    commits: tuple[Commit, ...] = ()
    saves: int = 0
    """How often its files were to be saved."""
    new_bytes: int = 0
    """What has changed in them since; with none of it nothing is committed."""
    problem: str = ""
    """Why they can't be saved."""
    may_save: asyncio.Event | None = None
    """What a saving waits for."""
    seconds: float = 0.0
    """How long it takes besides."""
    pause_seconds: float = PAUSE_SECONDS
    """Between two of them."""

    def say(self, **changes: Any) -> None:
        self.report = msgspec.structs.replace(self.report, **changes)

    def obey(self, **changes: Any) -> None:
        self.obeyed = replace(self.obeyed, **changes)

    def say_of_checkpoint(self, **changes: Any) -> None:
        assert self.report.checkpoint is not None
        self.say(checkpoint=msgspec.structs.replace(self.report.checkpoint, **changes))

    async def save(self, clock: Clock) -> None:
        """Do as `OwnGround.save` does."""
        self.saves += 1
        began_at = clock.now()
        if self.may_save is not None:
            await self.may_save.wait()
        await clock.sleep(self.seconds)
        if self.problem:
            raise NotSavedError(self.problem)
        if self.new_bytes:
            self.commit(began_at)
        self.say_of_checkpoint(committed_at=began_at)

    def commit(self, created_at: datetime, *, seconds: float = 2.14) -> None:
        """Be saved once more."""
        known = self.report.checkpoint
        assert known is not None
        saved = Saved(
            checkpoint_id=known.id,
            generation=known.generation + 1,
            run_number=RUN,
            created_at=created_at,
            image="",
            final=False,
            entries=known.entries,
            file_bytes=known.file_bytes,
            stored_bytes=self.new_bytes,
            torn=0,
            root="",
            volume=1,
        )
        self.commits = (*self.commits, Commit(saved, created_at, seconds))
        self.new_bytes = 0
        self.say_of_checkpoint(generation=saved.generation)

    def view(self, now: datetime = NOON, since: datetime = NOON, zone: tzinfo = UTC) -> View:
        return View(
            studio_name=SPEC.studio_name,
            tool_name=SPEC.tool.name,
            limits=VolumeLimits(),
            since=since,
            now=now,
            report=self.report,
            obeyed=self.obeyed,
            commits=self.commits,
            zone=zone,
        )

    def desk(self, folder: Path, clock: Clock) -> Desk:
        return Desk(
            SPEC,
            folder,
            observe=lambda: self.report,
            obeyed=lambda: self.obeyed,
            extend=self.control_plane.extend,
            save=partial(self.save, clock),
            commits=lambda: self.commits,
            save_pause_seconds=self.pause_seconds,
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
