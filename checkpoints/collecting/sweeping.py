"""What a writer does itself about what it superseded, so that the collector's delays cost nothing.

    a generation is committed ─ records but the newest few go
      ─ packs that only they needed get a tombstone ─ ten minutes ─ they go, if nobody took over

A checkpoint that is being written shares nothing: its packs are its writer's alone, so whoever else
may come to need one, has sealed it before, or found it final. If neither was so when the tombstones
stood already, whoever comes later sees them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from checkpoints.collecting.execution import TOMBSTONE
from checkpoints.collecting.interruptible import Interruptible
from checkpoints.collecting.keeping import Seen, State, superfluous
from checkpoints.collecting.marking import Marking
from checkpoints.collecting.removal import Removal
from checkpoints.collecting.settings import Settings
from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.storage.failures import AlreadyThereError, NotThereError
from checkpoints.writing.reliance import Stopwatch, is_ended

if TYPE_CHECKING:
    from collections.abc import Collection

    from checkpoints.format.ids import PackId
    from checkpoints.format.record import Record
    from checkpoints.repository import Records, Repository
    from checkpoints.writing.pack_writer import WrittenPack
    from checkpoints.writing.writer import Writer

DELETED_AFTER = timedelta(minutes=10)
"""After the tombstone. Its being there is what counts; the time is for readers that are at it."""
DELETED_WITHIN = timedelta(hours=1)
"""Of the tombstone, or never: a collection that goes by older records takes tombstones away, but
not before they are two hours old."""
LOOKED_WITHIN = timedelta(minutes=5)
"""Of the look at the checkpoint's newest record."""
ENTRY_BYTES = 200
"""Of a tree: no more of trees is read than was written since the last time."""

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepSettings:
    """When it is worth finding out what is needed."""

    written_bytes_min: int = 64 * 1024 * 1024
    """Less isn't worth it."""
    written_share_min: float = 0.5
    """Of what was needed the last time: so that no more than half as much again lies about."""


@dataclass(slots=True)
class Swept:
    """What a sweep did."""

    records: int = 0
    announced: int = 0
    deleted: int = 0
    deleted_bytes: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True)
class _Announced:
    """Packs whose tombstones were put."""

    packs: tuple[WrittenPack, ...]
    since_seconds: float
    watch: Stopwatch


class Sweeper:
    """Sweeps up after one writer. Used between its writes, never beside one."""

    def __init__(
        self, repository: Repository, writer: Writer, settings: SweepSettings | None = None
    ) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._writer = writer
        self._settings = settings or SweepSettings()
        self._announced: list[_Announced] = []
        self._looked_at: frozenset[PackId] = frozenset()
        self._needed_bytes = 0
        self._is_over = False

    @property
    def is_waiting(self) -> bool:
        """Whether a later sweep has something to delete that is announced already."""
        return bool(self._announced) and not self._is_over

    async def sweep(self) -> Swept:
        """Do what it is time for. Raises StorageError; then the next sweep, or a collection, does.

        Once the checkpoint is sealed, final or another's, nothing is done ever again.
        """
        swept = Swept()
        previous = self._writer.previous
        if self._is_over or previous is None:
            return swept
        records = await self._repository.records(previous.checkpoint_id)
        looked = Stopwatch(self._repository.clock)
        if not self._is_ours(records, previous):
            _log.info("checkpoint_sweeping_ends", checkpoint=previous.checkpoint_id)
            self._is_over = True
            return swept

        def is_too_late() -> bool:
            return looked.seconds > LOOKED_WITHIN.total_seconds()

        removal = Removal(self._storage, is_too_late)
        await self._delete(removal, swept)
        kept = await self._drop_records(removal, records, swept)
        if self._is_worth_it(previous):
            unneeded = await self._unneeded(kept)
            if unneeded and not is_too_late():
                await self._announce(unneeded, swept)
        swept.refused = removal.refused
        return swept

    def _is_ours(self, records: Records, previous: Record) -> bool:
        """Say whether the newest record is the writer's own, and it goes on writing."""
        damaged = [names.parse_record(damage.key) for damage in records.damaged]
        if any(place is None or place > previous.place for place in damaged):
            return False
        return previous in records.found[:1] and not is_ended(previous)

    async def _delete(self, removal: Removal, swept: Swept) -> None:
        """Delete packs whose tombstones have stood for long enough, and not for too long."""
        waiting = []
        for announced in self._announced:
            if announced.watch.seconds > DELETED_WITHIN.total_seconds():
                continue  # for a collection
            stood = self._repository.clock.monotonic() - announced.since_seconds
            if stood < DELETED_AFTER.total_seconds():
                waiting.append(announced)
                continue
            results = await removal.delete_all(
                (names.pack(pack.facts.kind, pack.facts.pack_id), _tombstone(pack))
                for pack in announced.packs
            )
            for pack, is_deleted in zip(announced.packs, results, strict=True):
                swept.deleted += is_deleted
                swept.deleted_bytes += pack.facts.object_bytes * is_deleted
        self._announced = waiting

    async def _drop_records(
        self, removal: Removal, records: Records, swept: Swept
    ) -> Collection[Record]:
        """Delete superseded records, oldest first; return those that stay."""
        now = self._repository.clock.now()
        seen = [Seen(record.place, now, State.SOUND) for record in records.found]
        going = superfluous(seen, now, Settings())
        for place in going:
            if not await removal.delete(names.record(place)):
                break
            swept.records += 1
        return [record for record in records.generations if record.place not in set(going)]

    def _is_worth_it(self, previous: Record) -> bool:
        new = sum(
            pack.facts.object_bytes
            for pack_id, pack in self._writer.packs.items()
            if pack_id not in self._looked_at
        )
        entries = previous.tree.entries if previous.tree else 0
        return new >= max(
            self._settings.written_bytes_min,
            self._settings.written_share_min * self._needed_bytes,
            ENTRY_BYTES * entries,
        )

    async def _unneeded(self, records: Collection[Record]) -> list[WrittenPack]:
        """Return the writer's packs that no kept record needs; none if that can't be known."""
        repository = self._repository
        thread = Interruptible("checkpoint-sweep")
        moved = {str(number): each for number, each in enumerate(await repository.moved())}
        marking = Marking(repository, None, moved, thread)
        packs = dict(self._writer.packs)
        try:
            for record in sorted(records, key=lambda record: record.generation):
                if problem := await marking.mark(record):
                    raise DamagedError(problem)
        except (DamagedError, NotThereError) as error:
            _log.warning("checkpoint_not_swept", reason=str(error))
            return []
        finally:
            thread.close()
        self._looked_at = frozenset(packs)
        needed = packs.keys() & marking.marks.packs
        self._needed_bytes = sum(packs[pack_id].facts.object_bytes for pack_id in needed)
        return [pack for pack_id, pack in packs.items() if pack_id not in needed]

    async def _announce(self, packs: Collection[WrittenPack], swept: Swept) -> None:
        self._writer.forget([pack.facts.pack_id for pack in packs])  # before anybody may look
        announced = []
        watch = Stopwatch(self._repository.clock)
        try:
            for pack in packs:
                try:
                    await self._storage.put_new(_tombstone(pack), TOMBSTONE)
                except AlreadyThereError:
                    continue  # a collection's, which ends it
                announced.append(pack)
        finally:
            since = self._repository.clock.monotonic()
            self._announced.append(_Announced(tuple(announced), since, watch))
            swept.announced = len(announced)


def _tombstone(pack: WrittenPack) -> str:
    return names.tombstone(pack.facts.pack_id)
