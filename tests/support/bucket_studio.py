"""A saving Studio whose work directory is a bucket, behind a proxy that fails when told to."""

from __future__ import annotations

import random
import secrets
import shutil
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from agent.proctable import read_process
from checkpoints.repository import Repository
from checkpoints.storage.opening import open_storage
from checkpoints.storage.urls import Access, parse_location
from common.clock import SystemClock
from common.messages import RunPhase
from common.session_spec import WorkDirectory
from tests.support.faulty_s3 import FaultyS3, faulty_s3
from tests.support.s3_servers import BUCKET, CREDENTIALS
from tests.support.saving_studio import NEVER_SECONDS, SavingStudio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from checkpoints.format.record import Record
    from common.messages import StatusReport
    from common.session_spec import SessionSpec
    from tests.support.session_agent import AgentRun

FIRST_WISH = datetime(2030, 1, 1, tzinfo=UTC)
"""Each is a second later: only their order counts."""
_SAVER = b"checkpointing.worker"


class BucketStudio(SavingStudio):
    """`s3` says how its work directory behaves. What runs report is what the next begins with."""

    def __init__(
        self, s3: FaultyS3, upstream: str, *, interval_seconds: float = NEVER_SECONDS
    ) -> None:
        path = secrets.token_hex(4)
        super().__init__(interval_seconds=interval_seconds, url=f"s3://{BUCKET}/{path}")
        self.s3 = s3
        self._upstream = upstream
        self._runs_of: dict[str, int] = {}
        """Checkpoints that hold something, as far as anybody was told."""
        self._wishes = 0

    def spec(self, *, url: str) -> SessionSpec:
        work_directory = WorkDirectory(
            url=self.url, credentials=dict(CREDENTIALS), endpoint=self.s3.url
        )
        return msgspec.structs.replace(super().spec(url=url), work_directory=work_directory)

    async def records(self, checkpoint_id: str) -> tuple[Record, ...]:
        """Return the records of a checkpoint, newest first, whatever the proxy does."""
        access = Access(credentials=CREDENTIALS, endpoint=self._upstream)
        storage = await open_storage(parse_location(self.url), access)
        repository = await Repository.open(storage, clock=SystemClock(), rng=random.Random(0))
        return (await repository.records(checkpoint_id)).found  # type: ignore[arg-type]

    @asynccontextmanager
    async def heard(self) -> AsyncIterator[AgentRun]:
        """Start an agent, and remember what it has reported, as a control plane does."""
        async with self.agent() as run:
            try:
                yield run
            finally:
                for report in run.control_plane.reports:
                    self._hear(report)
                known = self._runs_of
                self.parent_id = max(known, key=lambda each: known[each]) if known else None

    def _hear(self, report: StatusReport) -> None:
        earlier, own = report.earlier_checkpoint, report.checkpoint
        if earlier is not None and earlier.generation:
            self._runs_of.setdefault(earlier.id, report.run_number - 1)
        if own is not None and own.generation:
            self._runs_of[own.id] = report.run_number

    async def wish_saved(self, run: AgentRun) -> datetime:
        """Want the files saved as they are now; return what the status calls that wish."""
        self._wishes += 1
        wished_at = FIRST_WISH + timedelta(seconds=self._wishes)
        plane = run.control_plane
        plane.wished = msgspec.structs.replace(plane.wished, checkpoint_requested_at=wished_at)
        await plane.wish(plane.wished.run_state)
        return wished_at

    def move_to_another_host(self) -> None:
        """Lose all that lies on this one."""
        shutil.rmtree(self.state)


def has_answered(report: StatusReport, wished_at: datetime) -> bool:
    answered_at = report.checkpoint.answered_request_at if report.checkpoint else None
    return answered_at is not None and answered_at >= wished_at


def has_begun_or_ended(report: StatusReport) -> bool:
    return report.phase in {RunPhase.RUNNING, RunPhase.FAILED, RunPhase.SUPERSEDED}


def saver_of(agent_pid: int) -> int | None:
    """Return the pid of the process that saves an agent's files, while there is one."""
    for children in Path(f"/proc/{agent_pid}/task").glob("*/children"):
        for pid in map(int, children.read_text().split()):
            facts = read_process(pid)
            if facts is not None and not facts.zombie and _SAVER in _command_of(pid):
                return pid
    return None


def _command_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@asynccontextmanager
async def bucket_studio(
    moto: str, *, interval_seconds: float = NEVER_SECONDS
) -> AsyncIterator[BucketStudio]:
    """Make one in a bucket of the server `moto`."""
    async with faulty_s3(moto) as s3:
        with BucketStudio(s3, moto, interval_seconds=interval_seconds) as studio:
            yield studio


def fields_of(text: str) -> Mapping[str, int]:
    """Parse lines of a name and a number."""
    lines = (line.split() for line in text.splitlines())
    return {name: int(number) for name, number in lines}
