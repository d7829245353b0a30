"""A Studio whose runs save their files, each beginning with what the one before has saved.

Its sessions are those of the engine `local`, with a stand-in for the control plane. Nothing is
saved but when it is asked for, and at the end.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic_ns
from typing import TYPE_CHECKING

import msgspec

from agent.root.address import SessionAddress
from agent.volume.attachment import ACTIVE
from agent.volume.changes.point import UPPER
from agent.volume.loop_volume import MOUNT_NAME
from bench.agents import agent
from bench.checkpoints import bucket
from bench.places import SESSION, Place
from bench.processes import BenchError, free_port
from bench.saving import watched
from bench.saving.notes import Notes, Window, read_stamps
from bench.specs import new_session_id, session_spec
from checkpoints.format.ids import new_checkpoint_id
from common.clock import SystemClock
from common.ids import RunNumber
from common.messages import RunPhase, RunState
from common.session_spec import CheckpointSpec, SessionSettings, ToolSpec, WorkDirectory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from bench.agents import Agent
    from bench.checkpoints.tools import Store
    from common.ids import SessionId
    from common.messages import CheckpointStatus, StatusReport
    from common.session_spec import SessionSpec

WORK = Path("/workspace/bench")
"""Where users work."""
_NEVER_SECONDS = 24 * 3600.0
_HEARD_SECONDS_MAX = 600.0  # 5 GB restored on a busy machine; what takes longer hangs
_HERE = "127.0.0.1"
_PYTHON = "/usr/bin/python3"  # every session sees it
_PROJECT = Path(__file__).parents[2]
_PROGRAM = (
    "bench/__init__.py",
    "bench/workbench.py",
    "bench/saving/__init__.py",
    "bench/saving/deeds.py",
)
_BOOT = "import sys; sys.path.insert(0, {!r}); from bench.saving.deeds import main; main()"


@dataclass(slots=True)
class Session:
    """One run, while its agent is there and after that."""

    agent: Agent
    upper: Path
    """The folder of all that its user changed, in the agent's own mounts."""
    started: Window
    """Until its tool answered."""
    place: Place
    noted: Notes | None = None

    async def do(self, deed: str, **wishes: str) -> None:
        """Have one of `deeds` done."""
        await self.place.work(deed, None, **wishes)

    async def save(self) -> Window:
        """Have the files saved, and wait for the report that they are."""
        plane, asked, begin_ns = self.agent.control_plane, SystemClock().now(), monotonic_ns()
        failures = self.checkpoint().failures
        plane.wished = msgspec.structs.replace(plane.wished, checkpoint_requested_at=asked)
        await plane.wish(RunState.RUN)
        report = await _heard(self.agent, lambda report: _is_answer(report, asked, failures))
        assert report.checkpoint is not None
        if report.checkpoint.failures > failures:
            raise BenchError(report.checkpoint.message)
        return Window(begin_ns, monotonic_ns())

    async def stop(self) -> Window:
        """Stop it as a user does, and wait for its agent to have ended, all saved."""
        begin_ns = monotonic_ns()
        await self.agent.control_plane.wish(RunState.STOP)
        await self.agent.process.ended(seconds_max=_HEARD_SECONDS_MAX)
        window = Window(begin_ns, monotonic_ns())
        # Its last long poll is over, or the stand-in would wait for news of it for ever.
        await self.agent.control_plane.wish(RunState.STOP)
        return window

    def checkpoint(self) -> CheckpointStatus:
        """Return the last that was heard of what is saved."""
        report = self.agent.control_plane.reports[-1]
        if report.checkpoint is None:
            raise BenchError("the agent says nothing of what it saves")
        return report.checkpoint

    def stamps(self, name: str) -> Sequence[int]:
        """Read what a program in the session noted."""
        root = Path(f"/proc/{self.agent.first_process()}/root")
        return read_stamps((root / WORK.relative_to("/") / name).read_bytes())

    @property
    def notes(self) -> Notes:
        """What its agent noted, once it has ended."""
        assert self.noted is not None
        return self.noted


@dataclass(slots=True)
class Studio:
    """What outlives a run: the work directory `name` in a store, and a folder on this machine."""

    folder: Path
    store: Store
    name: str = "work"
    _session_id: SessionId = field(default_factory=new_session_id)
    _runs: int = 0
    _parent_id: str | None = None
    _rng: random.Random = field(default_factory=random.SystemRandom)

    def stored_bytes(self) -> int:
        return self.store.stored_bytes(self.name)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """Start a run and wait for its tool; if it is not stopped inside, that was no result."""
        self._runs += 1
        spec = self._spec()
        async with AsyncExitStack() as stack:
            one = await stack.enter_async_context(agent(self.folder, spec, module=watched.__name__))
            one.control_plane.set(spec.settings)
            report = await _heard(one, _is_decided)
            if report.phase is not RunPhase.RUNNING:
                raise BenchError(f"the session failed: {report.message}")
            started = Window(one.begun_ns, monotonic_ns())
            place = _place(one, spec, stack)
            upper = one.state / MOUNT_NAME / ACTIVE / UPPER
            session = Session(one, upper, started, place)
            yield session
            session.noted = await asyncio.to_thread(self._notes, one)
            saved = session.checkpoint()
            if saved.generation:
                self._parent_id = saved.id

    def _notes(self, one: Agent) -> Notes:
        path = watched.notes_of(one.folder / "spec")
        notes = msgspec.msgpack.decode(path.read_bytes(), type=Notes)
        path.unlink()
        return notes

    def _spec(self) -> SessionSpec:
        boot = _BOOT.format(str(_copied(self.folder)))
        tool = ToolSpec(
            name="Bench",
            command=(_PYTHON, "-I", "-B", "-c", boot, "${CONNECT_TOOL_PORT}"),
            port=free_port(),
            working_directory=str(WORK),
        )
        return msgspec.structs.replace(
            session_spec(self._session_id, tool),
            run_number=RunNumber(self._runs),
            work_directory=self._work_directory(),
            checkpoint=CheckpointSpec(
                id=new_checkpoint_id(self._rng), parent_id=self._parent_id, image="bench"
            ),
            settings=SessionSettings(checkpoint_interval_seconds=_NEVER_SECONDS),
        )

    def _work_directory(self) -> WorkDirectory:
        if not self.store.endpoint:
            (self.store.folder / self.name).mkdir(exist_ok=True)
            return WorkDirectory(url=f"file://{self.store.folder / self.name}")
        return WorkDirectory(
            url=f"s3://{bucket.NAME}/{self.store.path}{self.name}",
            credentials=dict(bucket.CREDENTIALS),
            endpoint=self.store.endpoint,
            single_writer=True,  # see `bucket`
        )


def _copied(folder: Path) -> Path:
    """Put the tool where sessions see it; return the folder to import it from."""
    there = folder / "program"
    for name in _PROGRAM:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_PROJECT / name, there / name)
    return there


def _place(one: Agent, spec: SessionSpec, stack: AsyncExitStack) -> Place:
    network_fd = os.open(f"/proc/{one.first_process()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    stack.callback(os.close, network_fd)
    address = SessionAddress(network_fd, _HERE, spec.tool.port)
    return Place(SESSION, one.process, address, WORK, None)


async def _heard(one: Agent, wanted: Callable[[StatusReport], bool]) -> StatusReport:
    """Wait for a report like that; a failed run's is one, too."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_HEARD_SECONDS_MAX):
            while True:
                with suppress(TimeoutError):  # of the stand-in, which waits less
                    return await one.control_plane.reported(
                        lambda report: wanted(report) or report.phase is RunPhase.FAILED
                    )
                one.process.must_run()
    raise BenchError(f"the agent does not say what was waited for: {one.log()}")


def _is_decided(report: StatusReport) -> bool:
    return report.phase is RunPhase.RUNNING


def _is_answer(report: StatusReport, asked: object, failures: int) -> bool:
    saved = report.checkpoint
    return saved is not None and (saved.answered_request_at == asked or saved.failures > failures)
