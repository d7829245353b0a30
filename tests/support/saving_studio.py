"""A Studio whose runs save their files: a control plane's part of it, without a control plane."""

from __future__ import annotations

import contextlib
import random
from typing import TYPE_CHECKING, Self

import msgspec

from checkpoints.format.ids import new_checkpoint_id
from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import parse_location
from common.clock import SystemClock
from common.ids import RunNumber
from common.session_spec import CheckpointSpec, SessionSettings, WorkDirectory
from tests.support.session_agent import SMALL, Studio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from checkpoints.format.record import Record
    from common.messages import CheckpointStatus, StatusReport
    from common.session_spec import SessionSpec, VolumeLimits
    from tests.support.session_agent import AgentRun

NEVER_SECONDS = 3600.0
"""Between captures, where a test asks for each."""


class SavingStudio(Studio):
    """Each run begins with what the one before has saved, as the control plane has it."""

    def __init__(
        self,
        *,
        interval_seconds: float = NEVER_SECONDS,
        volume: VolumeLimits = SMALL,
        url: str | None = None,
    ) -> None:
        """`url` is the work directory's; one of its own, a folder, unless given."""
        super().__init__(volume=volume)
        self.interval_seconds = interval_seconds
        self.work = self.folder / "work"
        self.url = url or f"file://{self.work}"
        self.runs = 0
        self.parent_id: str | None = None
        """What the next run begins with."""
        self.next_id: str | None = None
        """The next run's own, where a test wants a certain one."""
        self._rng = random.Random(0)

    def __enter__(self) -> Self:
        super().__enter__()
        self.work.mkdir(exist_ok=True)
        return self

    def spec(self, *, url: str) -> SessionSpec:
        self.runs += 1
        own, self.next_id = self.next_id or new_checkpoint_id(self._rng), None
        return msgspec.structs.replace(
            super().spec(url=url),
            run_number=RunNumber(self.runs),
            work_directory=WorkDirectory(url=self.url),
            checkpoint=CheckpointSpec(id=own, parent_id=self.parent_id, image="test"),
            settings=SessionSettings(
                stop_grace_seconds=self.grace_seconds,
                checkpoint_interval_seconds=self.interval_seconds,
                status_interval_seconds=0.5,
            ),
        )

    @contextlib.asynccontextmanager
    async def session(self) -> AsyncIterator[AgentRun]:
        """Start an agent and wait for its tool to answer; what it saves is the next one's."""
        try:
            async with super().session() as run:
                yield run
        except BaseException:
            await self.nothing_remains()  # of an agent that a failing test has killed
            raise
        last = run.control_plane.reports[-1].checkpoint
        if last is not None and last.generation:
            self.parent_id = last.id

    async def records(self, checkpoint_id: str) -> tuple[Record, ...]:
        """Return the records of a checkpoint, newest first."""
        clock = SystemClock()
        storage = await open_storage(parse_location(self.url))
        repository = await Repository.open(storage, clock=clock, rng=self._rng)
        found = await repository.records(checkpoint_id)  # type: ignore[arg-type]
        return found.found


def checkpoint_of(report: StatusReport) -> CheckpointStatus:
    assert report.checkpoint is not None, report
    return report.checkpoint
