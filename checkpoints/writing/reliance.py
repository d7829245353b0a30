"""What a commit relies on: packs that it didn't write, and the record that it continues.

Packs that are on their way out have a tombstone, and those that were found damaged a mark; on both
nobody relies. Packs and record are looked at once more before the commit. A tombstone stands for a
day before its pack goes, and what a record reaches outlives it by as long. So what passes is there
for long enough, if the new record comes within `COMMIT_SECONDS_MAX` of the look: from then on,
itself keeps what it needs.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from checkpoints.format import names
from checkpoints.storage.failures import NotThereError, StorageAwayError
from common.tasks import first_of, side_by_side

if TYPE_CHECKING:
    from collections.abc import Mapping

    from checkpoints.format.ids import PackId
    from checkpoints.format.index import PackFacts
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.repository import Repository
    from common.clock import Clock

COMMIT_SECONDS_MAX = 3600
"""Far longer than a commit takes, and far shorter than the day that a tombstone stands."""
LOOKS_MAX = 4
CHECKS_AT_ONCE = 8
SINGLE_CHECKS_MAX = 200
"""Of more packs, all are listed: a thousand in one request."""


class PacksGoneError(Exception):
    """Packs that were relied on can't be: their chunks have to be stored again."""

    def __init__(self, packs: frozenset[PackId]) -> None:
        super().__init__(f"{len(packs)} packs are on their way out, or damaged")
        self.packs = packs


class IndexGoneError(Exception):
    """An index that a record was to name, or names, was deleted."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"The index {place} was deleted.")
        self.place = place


class PreviousGoneError(Exception):
    """The record that is continued was deleted, and with it, what keeps its tree."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"The generation {place} was deleted.")
        self.place = place


class ParentGoneError(Exception):
    """What a run continues was deleted: without it, no generation of this run is whole.

    The text is a sentence.
    """

    @classmethod
    def of(cls, place: Place) -> ParentGoneError:
        return cls(f"The generation {place} was deleted: start from another checkpoint.")


class ParentBusyError(Exception):
    """What a run was to continue is still being written. The text is a sentence."""


class Stopwatch:
    """How long it is since a moment, by the clock that says more.

    The monotonic one stands still while the machine sleeps; the calendar may be set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._monotonic = clock.monotonic()
        self._now = clock.now()

    @property
    def seconds(self) -> float:
        by_calendar = (self._clock.now() - self._now).total_seconds()
        return max(self._clock.monotonic() - self._monotonic, by_calendar)

    @property
    def is_late(self) -> bool:
        """Whether it is too long ago for a commit to rely on what was seen then."""
        return self.seconds > COMMIT_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Unfit:
    """Packs that nobody relies on."""

    ending: frozenset[PackId]
    """They have tombstones."""
    damaged: frozenset[PackId]
    """They have marks."""

    @property
    def all(self) -> frozenset[PackId]:
        return self.ending | self.damaged


async def unfit_packs(repository: Repository) -> Unfit:
    """Return the packs that are on their way out, and those that were found damaged."""
    try:
        async with asyncio.TaskGroup() as group:
            tombstones = group.create_task(repository.tombstones())
            marks = group.create_task(repository.marks())
    except ExceptionGroup as errors:
        raise first_of(errors) from None
    return Unfit(frozenset(tombstones.result()), frozenset(marks.result()))


@dataclass(frozen=True, slots=True)
class Reliance:
    """What has to be there when a record comes."""

    previous: Record | None = None
    """The record that is continued: it keeps what it needs, and the indexes that it names."""
    packs: Mapping[PackId, PackFacts] = field(default_factory=dict)
    """In which chunks were found."""
    written: Mapping[PackId, PackFacts] = field(default_factory=dict)
    """By this write."""
    index: Place | None = None
    """Written for this record."""


async def look(repository: Repository, reliance: Reliance, *, begun: Stopwatch) -> Stopwatch:
    """Return when all was there and no pack had a tombstone or a mark, not too long ago.

    What was written since the write was `begun` is there, unless that is long ago; but it may have
    got a tombstone where the store's clock was set. Raises PacksGoneError, PreviousGoneError,
    IndexGoneError, StorageError.
    """
    for _ in range(LOOKS_MAX):
        since = Stopwatch(repository.clock)
        await _look_once(repository, reliance, is_late=begun.is_late)
        if not since.is_late:
            return since
    raise StorageAwayError(
        f"The store took more than an hour to say what is there, {LOOKS_MAX} times in a row.",
        operation="size",
    )


async def _look_once(repository: Repository, reliance: Reliance, *, is_late: bool) -> None:
    previous, packs, written = reliance.previous, reliance.packs, reliance.written
    if previous is not None and not await _is_there(repository, names.record(previous.place)):
        raise PreviousGoneError(previous.place)
    index = reliance.index if is_late else None
    if index is not None and not await _is_there(repository, names.index(index)):
        raise IndexGoneError(index)
    if packs or written:
        gone = (await unfit_packs(repository)).all & (packs.keys() | written.keys())
        looked_for = {**packs, **written} if is_late else packs
        gone |= await _missing(repository, [p for i, p in looked_for.items() if i not in gone])
        if gone:
            raise PacksGoneError(frozenset(gone))


async def _is_there(repository: Repository, key: str) -> bool:
    try:
        await repository.storage.size(key)
    except NotThereError:
        return False
    return True


def is_ended(newest: Record) -> bool:
    """Say whether nobody writes to a checkpoint any more, given its newest record."""
    return newest.kind == "seal" or newest.final


async def check_ended(repository: Repository, parent: Record) -> None:
    """Raise ParentBusyError or ParentGoneError if a checkpoint can't be continued.

    One that is being written is its writer's alone, who deletes what it doesn't need.
    """
    newest = next(iter(await repository.places(parent.checkpoint_id)), None)
    if newest is None:
        raise ParentGoneError.of(parent.place)
    if not is_ended(await repository.record(newest)):
        raise ParentBusyError(
            f"Checkpoint {parent.checkpoint_id} is still being written: stop its session first."
        )


async def _missing(repository: Repository, packs: list[PackFacts]) -> set[PackId]:
    """Return those that aren't there, or are something else."""
    if len(packs) > SINGLE_CHECKS_MAX:
        sizes = {
            listed.key: listed.size
            for prefix in names.PACKS.values()
            async for listed in repository.storage.list(prefix)
        }
        return {p.pack_id for p in packs if sizes.get(_key(p)) != p.object_bytes}
    missing: set[PackId] = set()

    async def check(pack: PackFacts) -> None:
        try:
            size = await repository.storage.size(_key(pack))
        except NotThereError:
            size = -1
        if size != pack.object_bytes:
            missing.add(pack.pack_id)

    await side_by_side(packs, check, at_once=CHECKS_AT_ONCE)
    return missing


def _key(pack: PackFacts) -> str:
    return names.pack(pack.kind, pack.pack_id)
