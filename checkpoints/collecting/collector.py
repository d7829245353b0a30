"""**Start here:** one collection.

    the store's time ─ tombstones, earlier findings, indexes, packs ─ records, until no more come
    ─ findings ─ tombstones ─ deletions ─ superseded records ─ packs rewritten ─ indexes folded

Each step may be the last. Tombstones are listed before packs, so that one without a pack has
outlived it, and packs before records. While a record or an index can't be read, nothing but
superseded records goes: nobody knows what else is needed.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import structlog

from checkpoints.collecting import execution
from checkpoints.collecting.busy import check_nobody_writes
from checkpoints.collecting.decision import decide
from checkpoints.collecting.doom import Situation
from checkpoints.collecting.folding import fold
from checkpoints.collecting.interruptible import Interruptible
from checkpoints.collecting.listing import (
    findings_before,
    list_collections,
    list_indexes,
    list_packs,
    list_probes,
    read_marks,
    read_moved,
    store_time,
)
from checkpoints.collecting.marking import Marking
from checkpoints.collecting.outcome import Collected, Phase, Progress
from checkpoints.collecting.removal import Removal
from checkpoints.collecting.rewriting import Rewriting
from checkpoints.collecting.settings import Settings, settings_while_nobody_writes
from checkpoints.collecting.survey import Survey
from checkpoints.format.damage import DamagedObjectError
from checkpoints.writing.reliance import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from checkpoints.collecting.candidates import Candidate
    from checkpoints.collecting.doom import Doom
    from checkpoints.collecting.marks import Marks
    from checkpoints.repository import Repository

COLLECTIONS_MAX = 12
"""In a row: something is found, announced, deleted, and rewritten, and that twice."""

_log = structlog.get_logger()


async def collect(
    repository: Repository,
    settings: Settings | None = None,
    report: Callable[[Progress], None] = lambda _: None,
    *,
    dry_run: bool = False,
) -> Collected:
    """Free what nothing needs, as far as it is time; `dry_run` only says what would be done.

    Raises StorageError: what was done by then is done, the next collection does the rest. Two at a
    time do no harm.
    """
    thread = Interruptible("checkpoint-collect")
    try:
        collection = _Collection(repository, settings or Settings(), report, thread, dry_run)
        return await collection.run()
    finally:
        thread.close()


async def collect_while_nobody_writes(
    repository: Repository, report: Callable[[Progress], None] = lambda _: None
) -> Collected:
    """Free all that nothing needs, without the waits that protect writers.

    Fails as `collect`, and with StillWrittenError if it can see that somebody may be writing.
    """
    await check_nobody_writes(repository)
    settings = settings_while_nobody_writes()
    outcome = await collect(repository, settings, report)
    total = outcome
    for _ in range(COLLECTIONS_MAX):
        if not outcome.did_something:
            break
        outcome = await collect(repository, settings, report)
        total = total.followed_by(outcome)
    return total


class _Collection:
    def __init__(
        self,
        repository: Repository,
        settings: Settings,
        report: Callable[[Progress], None],
        thread: Interruptible,
        dry_run: bool,
    ) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._settings = settings
        self._report = report
        self._thread = thread
        self._dry_run = dry_run
        self._found = Collected()
        self._watch = Stopwatch(repository.clock)
        self._removal = Removal(repository.storage, self._is_too_late)

    async def run(self) -> Collected:
        found = self._found
        self._report(Progress(Phase.LISTING))
        self._began = await store_time(self._storage, self._repository.rng)
        try:
            await self._collect()
        except DamagedObjectError as damage:  # an index that was moved: all else hangs on them
            found.is_blocked = True
            found.problems.append(str(damage))
        found.refused, found.refusal = self._removal.refused, self._removal.refusal
        _log.info(
            "collection_ended",
            problems=len(found.problems),
            **{
                name: value
                for name, value in msgspec.structs.asdict(found).items()
                if value and name != "problems"
            },
        )
        return found

    async def _collect(self) -> None:
        repository, storage = self._repository, self._storage
        settings, found = self._settings, self._found
        tombstones, listed_marks = await repository.tombstones(), await repository.marks()
        collections = await list_collections(storage)
        before, problem = await findings_before(storage, collections, self._began, settings.apart)
        indexes = await list_indexes(storage)
        moved = await read_moved(repository, indexes)
        damaged = await read_marks(storage, listed_marks)
        packs = await list_packs(storage)
        marking = Marking(repository, packs, moved, self._thread, damaged)
        survey = Survey(
            repository,
            marking,
            lambda done, total: self._report(Progress(Phase.MARKING, done, total)),
        )
        await survey.run()
        situation = Situation(
            began=self._began,
            packs=packs,
            tombstones=tombstones,
            damage_marks=listed_marks,
            salvageable=marking.salvageable,
            indexes={key: listed.modified for key, listed in indexes.items()},
            needed_packs=marking.marks.packs,
            needed_indexes=marking.needed_indexes,
            before=before,
        )
        found.problems += [*survey.problems, *([problem] if problem else [])]
        found.is_blocked = not survey.is_complete
        checkpoints = survey.by_checkpoint()
        decision = await self._thread.run(
            lambda: decide(situation, checkpoints, marking.marks, moved, settings)
        )
        decision.describe(found)
        if self._dry_run:
            decision.foretell(found)
            return
        plan = decision.doom
        if not found.is_blocked:
            await self._free(situation, plan)
            old = collections | await list_probes(storage)
            await execution.tidy_up(self._removal, old, self._began, settings)
        found.deleted_records = await execution.drop_records(self._removal, decision.superseded)
        if not found.is_blocked and not self._is_too_late():
            await self._rewrite(decision.candidates, marking.marks)
            found.folded_indexes = await fold(
                repository, moved, marking.marks, indexes_max=settings.moved_indexes_max
            )

    async def _free(self, situation: Situation, plan: Doom) -> None:
        found, removal, settings = self._found, self._removal, self._settings
        self._report(Progress(Phase.DELETING, 0, len(plan.deleted_packs)))
        await execution.note(self._storage, plan.findings, self._repository.clock)
        if self._is_too_late():
            found.problems.append(
                "The collection took so long that it deletes nothing: what it saw is too long ago."
            )
            return
        found.announced_packs = await execution.announce(self._storage, plan.announced)
        if self._watch.seconds <= settings.revival_lasts_max.total_seconds():
            found.revived_packs = await execution.revive(removal, plan.revived)
        await execution.delete_packs(self._repository, removal, situation, plan, found)
        await execution.delete_indexes(removal, plan, found)

    async def _rewrite(self, candidates: Sequence[Candidate], marks: Marks) -> None:
        found = self._found
        loop = asyncio.get_running_loop()

        def report(done: int) -> None:
            progress = Progress(Phase.REWRITING, done, len(candidates))
            loop.call_soon_threadsafe(self._report, progress)

        rewriting = Rewriting(self._repository, marks, self._thread, level=self._settings.level)
        try:
            await self._thread.run(
                lambda: rewriting.run(candidates, report), stop=rewriting.uploads.stop
            )
        finally:
            rewriting.uploads.stop()
            found.rewritten_packs = rewriting.packs
            found.rewritten_bytes = rewriting.bytes_before
            found.written_bytes = rewriting.bytes_after
            found.problems += rewriting.problems

    def _is_too_late(self) -> bool:
        return self._watch.seconds > self._settings.lasts_max.total_seconds()
