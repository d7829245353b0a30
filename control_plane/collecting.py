"""Frees what deleted checkpoints took: whenever people delete something, and every hour.

    hold the work directory ─ delete what is marked ─ look up what nobody heard of ─ collect

A process of its own does all that touches storage: see `storage_process`. One work directory is
attended to at a time. Whatever fails is tried again, later and later; what was done stays done, and
a row goes only once nothing in storage knows its checkpoint any more.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from common.backoff import Backoff
from common.tasks import first_of
from common.wire import MalformedMessageError
from control_plane.collecting_messages import (
    Collect,
    Delete,
    Deleted,
    Done,
    Failed,
    LookedUp,
    LookUp,
    Result,
    Task,
    decode_result,
)
from control_plane.leadership import COLLECTOR_LOCK, Leadership
from control_plane.removals import NotHeldError, Removals
from control_plane.storage_process import ProcessGoneError, StorageProcess
from control_plane.work_directories import work_directory

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator

    from checkpoints.collecting.outcome import Collected
    from common.session_spec import WorkDirectory
    from control_plane.core import Core
    from control_plane.model_checkpoints import CheckpointNumber
    from control_plane.removals import Hold, WorkDirectoryToCollect

RENEW_SECONDS = 60.0
TASK_SECONDS_MAX = 13 * 3600.0
"""A collection deletes nothing any more after twelve hours: what it saw is too long ago."""
_WORKER = "control_plane.collecting_worker"

_log = structlog.get_logger()


class TaskFailedError(Exception):
    """What was to be done failed; the text is a sentence."""


@dataclass(slots=True)
class Tally:
    """What was done since this program began, for metrics."""

    collections: int = 0
    failures: int = 0
    deleted_checkpoints: int = 0
    refused_deletions: int = 0
    freed_bytes: int = 0
    problems: int = 0
    """Objects that the last collection could not read."""


@dataclass(slots=True)
class _Trouble:
    """A work directory that didn't do as it should, and when it is tried again."""

    backoff: Backoff
    until: float = 0.0


class Collector:
    """The loop over all work directories."""

    def __init__(
        self,
        core: Core,
        tally: Tally,
        *,
        rng: random.Random,
    ) -> None:
        self._core = core
        self._tally = tally
        self._rng = rng
        self._removals = Removals(core)
        self._troubles: dict[str, _Trouble] = {}

    async def run(self) -> None:
        """Run until cancelled."""
        leadership = Leadership(self._core.store, lock=COLLECTOR_LOCK)
        try:
            while True:
                try:
                    if await leadership.is_ours():
                        await self.run_once()
                except sa.exc.DBAPIError as error:
                    _log.warning("collecting_postponed", error=str(error))
                await self._core.clock.sleep(self._core.settings.limits.collect_look_seconds)
        finally:
            await leadership.close()

    async def run_once(self) -> None:
        """Attend to every work directory whose turn it is, one after the other."""
        for place in await self._removals.work_directories():
            if self._is_due(place):
                await self._attend(place)

    def _is_due(self, place: WorkDirectoryToCollect) -> bool:
        trouble = self._troubles.get(place.url)
        if trouble is not None and self._core.clock.monotonic() < trouble.until:
            return False
        return place.is_waiting or self._is_collection_due(place)

    def _is_collection_due(self, place: WorkDirectoryToCollect) -> bool:
        if place.ended_at is None:
            return True
        since = (self._core.clock.now() - place.ended_at).total_seconds()
        # a calendar that was set back must not keep things waiting for years
        return not 0 <= since < self._core.settings.limits.collect_interval_seconds

    async def _attend(self, place: WorkDirectoryToCollect) -> None:
        where = work_directory(place.url, place.env, self._core.settings.access)
        try:
            async with self._removals.hold(place.url) as hold:
                if hold is None:
                    return
                async with _renewed(hold), _Worker.started(where) as worker:
                    refused = await _Round(self._core, self._tally, hold, worker).run()
        except NotHeldError:
            _log.warning("collecting_lost", work_dir=place.url)
            return
        except (TaskFailedError, ProcessGoneError, OSError) as error:
            self._tally.failures += 1
            self._postpone(place.url, str(error))
            return
        except sa.exc.DBAPIError:
            raise  # nothing of it is the work directory's fault
        except Exception:  # noqa: BLE001 - one work directory's trouble must never end the others'
            _log.exception("collecting_broke", work_dir=place.url)
            self._tally.failures += 1
            self._postpone(place.url, "a bug: see above")
            return
        if refused:
            self._postpone(place.url, refused)
        else:
            self._troubles.pop(place.url, None)

    def _postpone(self, url: str, why: str) -> None:
        trouble = self._troubles.get(url)
        if trouble is None:
            limits = self._core.settings.limits
            backoff = Backoff(
                first_seconds=limits.collect_retry_seconds,
                seconds_max=limits.collect_retry_seconds_max,
                rng=self._rng,
            )
            self._troubles[url] = trouble = _Trouble(backoff)
        wait = trouble.backoff.next_seconds()
        trouble.until = self._core.clock.monotonic() + wait
        _log.warning("collecting_failed", work_dir=url, why=why, again_in_seconds=round(wait))


@dataclass(frozen=True, slots=True)
class _Worker:
    """The process, asked for one thing at a time."""

    process: StorageProcess

    @classmethod
    @asynccontextmanager
    async def started(cls, where: WorkDirectory) -> AsyncIterator[_Worker]:
        process = await StorageProcess.start(_WORKER)
        try:
            await process.send(where)
            yield cls(process)
        finally:
            process.kill()  # it is done, or nobody waits for it any more
            await process.end()

    async def ask(self, task: Task) -> Result:
        """Raises ProcessGoneError, TaskFailedError if it takes for ever."""
        try:
            async with asyncio.timeout(TASK_SECONDS_MAX):
                await self.process.send(task)
                frame = await self.process.read()
        except TimeoutError:
            raise TaskFailedError(f"Not done in {TASK_SECONDS_MAX / 3600:.0f} hours.") from None
        try:
            return decode_result(frame.body)
        except MalformedMessageError as error:
            raise ProcessGoneError(str(error)) from None


@dataclass(slots=True)
class _Round:
    """All that is to be done in one work directory, once."""

    core: Core
    tally: Tally
    hold: Hold
    worker: _Worker
    refusal: str = ""
    tried: set[int] = field(default_factory=set)

    async def run(self) -> str:
        """Return why something could not be deleted; empty if all was. Raises TaskFailedError."""
        while doomed := [one for one in await self.hold.to_delete() if one.id not in self.tried]:
            for one in doomed:
                self.tried.add(one.id)
                task = Delete(checkpoint_id=one.storage_id, is_saved=one.generation > 0)
                match await self.worker.ask(task):
                    case Deleted(refused=0, records=records):
                        await self.hold.deleted(one.id)
                        self.tally.deleted_checkpoints += 1
                        await self._audit("checkpoint_data_deleted", one.storage_id, records)
                    case Deleted(refused=count, refusal=why):
                        self.tally.refused_deletions += count
                        await self._refused(one.id, f"Storage refused to delete it: {why}")
                    case Failed(sentence=why):
                        await self._refused(one.id, f"It could not be deleted: {why}")
                    case other:
                        raise AssertionError(other)
        await self._look_up()
        await self._collect()
        return self.refusal

    async def _refused(self, number: CheckpointNumber, why: str) -> None:
        await self.hold.refused(number, why)
        self.refusal = self.refusal or why

    async def _look_up(self) -> None:
        for one in await self.hold.unsure():
            match await self.worker.ask(LookUp(checkpoint_id=one.storage_id)):
                case LookedUp(found=found):
                    await self.hold.looked_up(one, found)
                case Failed(sentence=why):
                    # the row stays as it is; a damaged record is said by those that collect, too
                    _log.warning("looking_up_failed", checkpoint=one.storage_id, why=why)
                case other:
                    raise AssertionError(other)

    async def _collect(self) -> None:
        match await self.worker.ask(Collect()):
            case Done(outcome=outcome):
                if outcome is not None:
                    await self._tell(outcome)
                self.tally.collections += 1
                self.hold.is_ended = True
            case Failed(sentence=why):
                raise TaskFailedError(why)
            case other:
                raise AssertionError(other)

    async def _tell(self, outcome: Collected) -> None:
        self.tally.freed_bytes += outcome.deleted_bytes
        self.tally.refused_deletions += outcome.refused
        self.tally.problems = len(outcome.problems)
        if outcome.refused:
            self.refusal = self.refusal or f"Storage refused to delete: {outcome.refusal}"
        if outcome.problems:
            _log.warning(
                "collecting_incomplete",
                work_dir=self.hold.work_dir,
                is_blocked=outcome.is_blocked,
                problem=outcome.problems[0],
                problems=len(outcome.problems),
            )
        facts: dict[str, object] = {
            "announcedPacks": outcome.announced_packs,
            "deletedPacks": outcome.deleted_packs,
            "deletedBytes": outcome.deleted_bytes,
            "deletedRecords": outcome.deleted_records,
            "rewrittenPacks": outcome.rewritten_packs,
            "refused": outcome.refused,
            "problems": len(outcome.problems),
        }
        done = {name: value for name, value in facts.items() if value}
        _log.info("collected", work_dir=self.hold.work_dir, **done)
        if done:
            await self._write_down("work_directory_collected", done)

    async def _audit(self, action: str, storage_id: str, records: int) -> None:
        await self._write_down(action, {"storageId": storage_id, "records": records})

    async def _write_down(self, action: str, detail: dict[str, object]) -> None:
        async with self.core.store.write() as transaction:
            await transaction.audit(
                action,
                at=self.core.clock.now(),
                detail={"workDir": self.hold.work_dir, **detail},
            )


@asynccontextmanager
async def _renewed(hold: Hold) -> AsyncIterator[None]:
    """Keep a work directory held while the block runs, which ends by NotHeldError otherwise."""
    clock = hold.core.clock

    async def renew() -> None:
        while True:
            await clock.sleep(RENEW_SECONDS)
            await hold.renew()

    try:
        async with asyncio.TaskGroup() as group:
            renewing = group.create_task(renew(), name="renew")
            yield
            renewing.cancel()
    except BaseExceptionGroup as errors:
        raise first_of(errors) from None
