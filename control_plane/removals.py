"""What whoever collects has to know: whose turn it is, and which checkpoints' data goes.

People's deletions only mark rows. Whoever collects holds one work directory at a time, deletes the
data of what is marked (`checkpoints.collecting.delete_checkpoint`, also where the newest record is
neither final nor a seal: no run of a marked one is left, and the seal that is made sees to that),
says so, and then collects what only those needed. It also looks up what became of checkpoints whose
runs ended without a word: agents save while nobody hears them.

Holding ends by itself: a process that died holds up nobody for longer than `HOLD_SECONDS`. It is no
lock that anything relies on, for two collections at a time do no harm; it spares their work.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from control_plane.clipping import clip_message
from control_plane.errors import ConflictError
from control_plane.model import DEFAULT_WORKSPACE
from control_plane.run_checkpoints import look_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from common.messages import CheckpointStatus
    from control_plane.core import Core
    from control_plane.model import ComputeEnv
    from control_plane.model_checkpoints import Checkpoint, CheckpointNumber, DoomedCheckpoint

HOLD_SECONDS = 600.0
"""Ten renewals missed: collections may take hours, their holders renew every minute."""
DOOMED_MAX = 100
"""At a time: asked again until there are none."""

UNSURE_MAX = 100
"""Each costs a listing of its records."""


class NotHeldError(Exception):
    """Somebody else holds the work directory by now: stop."""


@dataclass(frozen=True, slots=True)
class WorkDirectoryToCollect:
    """One work directory of this installation."""

    url: str
    env: ComputeEnv | None
    """Whose credentials open it; None if no compute environment has it any more."""
    is_waiting: bool
    """Data of deleted checkpoints is to be deleted there."""
    ended_at: datetime | None
    """When the last collection came to its end."""


@dataclass(slots=True)
class Hold:
    """One work directory, held by nobody else."""

    work_dir: str
    core: Core
    holder: str = field(default_factory=lambda: secrets.token_hex(8))
    is_ended: bool = False
    """Set by whoever collects: the collection came to its end, the next one has time."""

    async def renew(self) -> None:
        """Hold it for longer; raises NotHeldError. Call it every minute."""
        async with self.core.store.write() as transaction:
            until = self.core.clock.now() + timedelta(seconds=HOLD_SECONDS)
            if not await transaction.removals.renew(self.work_dir, self.holder, until=until):
                raise NotHeldError(self.work_dir)

    async def to_delete(self) -> list[DoomedCheckpoint]:
        """The next checkpoints whose data is to be deleted, at most DOOMED_MAX."""
        async with self.core.store.read() as transaction:
            return await transaction.removals.doomed(self.work_dir, limit=DOOMED_MAX)

    async def unsure(self) -> list[Checkpoint]:
        """Checkpoints to look up in storage, the newest UNSURE_MAX: nothing more will be heard.

        Their runs are over without having said that all is saved. Tell `looked_up` of each.
        """
        async with self.core.store.read() as transaction:
            numbers = await transaction.removals.unsure(self.work_dir, limit=UNSURE_MAX)
            found = [await transaction.checkpoints.find(number) for number in numbers]
        return [one for one in found if one is not None]

    async def looked_up(self, checkpoint: Checkpoint, found: CheckpointStatus | None) -> None:
        """Take in its newest generation in storage; None if it has none there."""
        async with self.core.changes.write() as changes:
            await look_up(changes, checkpoint, found, self.core.clock.now())

    async def deleted(self, number: CheckpointNumber) -> None:
        """All that the checkpoint was known by is gone from storage. Idempotent."""
        async with self.core.store.write() as transaction:
            await transaction.removals.forget(number)

    async def refused(self, number: CheckpointNumber, why: str) -> None:
        """Not all of it could be deleted: it stays on the list."""
        async with self.core.store.write() as transaction:
            await transaction.removals.note(number, clip_message(why))


class Removals:
    """Ask it from the process that leads, see `leadership`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def work_directories(self) -> list[WorkDirectoryToCollect]:
        """All that belong to a compute environment, or have something to delete."""
        async with self._core.store.read() as transaction:
            envs = {env.work_dir: env for env in await transaction.compute_envs(DEFAULT_WORKSPACE)}
            waiting = await transaction.removals.work_dirs()
            return [
                WorkDirectoryToCollect(
                    url=url,
                    env=envs.get(url),
                    is_waiting=url in waiting,
                    ended_at=await transaction.removals.ended_at(url),
                )
                for url in sorted({*envs, *waiting})
            ]

    @asynccontextmanager
    async def hold(self, work_dir: str) -> AsyncIterator[Hold | None]:
        """Hold a work directory while the block runs; None if somebody else does."""
        hold = Hold(work_dir, self._core)
        if not await self._take(hold):
            yield None
            return
        try:
            yield hold
        finally:  # where this fails, too, the hold ends by itself
            ended_at = self._core.clock.now() if hold.is_ended else None
            async with self._core.store.write() as transaction:
                await transaction.removals.release(work_dir, hold.holder, ended_at=ended_at)

    async def _take(self, hold: Hold) -> bool:
        now = self._core.clock.now()
        try:
            async with self._core.store.write() as transaction:
                return await transaction.removals.take(
                    hold.work_dir,
                    hold.holder,
                    now=now,
                    until=now + timedelta(seconds=HOLD_SECONDS),
                )
        except ConflictError:  # somebody else was the first ever, at the same time
            return False
