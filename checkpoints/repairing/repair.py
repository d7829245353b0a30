"""**Start here:** one repair.

    verification ─ marks on packs ─┬─ nothing is lost: done
                                   └─ records, indexes, tables of packs ─ what no index finds
                                      ─ indexes made anew ─ a new `index/moved` ─ damaged ones go

Marks come first: from then on nobody relies on what is damaged. Each step may be the last, for all
that is made is made of packs, which stay. Why nobody is worse off between two steps:
`docs/checkpoint-format.md`, "What is damaged".
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from checkpoints.collecting.interruptible import Interruptible
from checkpoints.collecting.listing import list_indexes, list_packs, store_time
from checkpoints.format import index as index_format, mark as mark_format, names
from checkpoints.format.damage import DamagedError
from checkpoints.format.ids import new_pack_id
from checkpoints.format.index import name_of, name_of_moved
from checkpoints.reading.verify import verify
from checkpoints.repairing.needs import Needs
from checkpoints.repairing.places import Owners, find_places
from checkpoints.repairing.repaired import Repaired
from checkpoints.storage.failures import AlreadyThereError, NotThereError
from checkpoints.writing.reliance import is_ended

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from checkpoints.format.ids import CheckpointId, ChunkId, PackId
    from checkpoints.format.index import ChunkPlace, Index
    from checkpoints.format.names import Place
    from checkpoints.format.record import Record
    from checkpoints.reading.verified import Progress, Verified
    from checkpoints.repository import Repository

_log = structlog.get_logger()


async def repair(
    repository: Repository,
    report: Callable[[Progress], None] = lambda _: None,
    *,
    dry_run: bool = False,
) -> Repaired:
    """Read everything, and mend what can be; `dry_run` only says what would be done.

    Raises StorageError: what was done by then is done, the next repair does the rest.
    """
    verified = await verify(repository, report=report)
    thread = Interruptible("checkpoint-repair")
    try:
        return await _Repair(repository, verified, thread, dry_run=dry_run).run()
    finally:
        thread.close()


class _Repair:
    def __init__(
        self, repository: Repository, verified: Verified, thread: Interruptible, *, dry_run: bool
    ) -> None:
        self._repository = repository
        self._storage = repository.storage
        self._verified = verified
        self._thread = thread
        self._dry_run = dry_run
        self._done = Repaired(verified=verified)
        self._rows: dict[Place, dict[ChunkId, ChunkPlace]] = {}
        """Of indexes that are to be made anew."""
        self._unsure: set[Place] = set()
        """Of these, those whose generations have lost nodes."""
        self._moved_rows: dict[ChunkId, ChunkPlace] = {}

    async def run(self) -> Repaired:
        await self._mark()
        moved = await self._broken_moved()
        if self._verified.losses:
            await self._look()
        for place, rows in sorted(self._rows.items()):
            await self._rebuild(place, rows)
        await self._make_known()
        if not self._done.withheld_chunks:
            for name in moved:
                await self._remove(name)
        return self._done

    async def _mark(self) -> None:
        verified = self._verified
        for pack_id in sorted(verified.bad_packs.keys() - verified.marked):
            pack = verified.bad_packs[pack_id]
            self._done.marked.append(names.pack(pack.kind, pack_id))
            await self._put_new(names.mark(pack_id), mark_format.encode(pack.chunks))

    async def _broken_moved(self) -> list[PackId]:
        """Return the names of moved indexes that are there and can't be read."""
        moved: list[PackId] = []
        for damage in self._verified.damages:
            if (name := names.parse_moved(damage.key)) is not None:
                try:
                    await self._repository.moved_index(name)
                except DamagedError:
                    moved.append(name)
                except NotThereError:
                    continue
        return moved

    async def _look(self) -> None:
        """Find out what generations that have lost something need, and where it is."""
        repository = self._repository
        now = await store_time(self._storage, repository.rng)
        owners = await self._owners()
        packs = await list_packs(self._storage)
        bad = {pack_id: pack.chunks for pack_id, pack in self._verified.bad_packs.items()}
        needs = Needs(
            repository,
            self._thread,
            moved=await repository.moved(),
            packs=packs,
            bad=bad,
            places=await find_places(repository, packs, owners, bad=bad, now=now),
        )
        for losses in sorted(self._verified.losses, key=lambda each: each.place):
            try:
                record = await repository.record(losses.place)
                await self._look_at(record, needs)
            except (DamagedError, NotThereError) as error:
                _log.info("checkpoint_not_repaired", place=str(losses.place), reason=str(error))
        self._done.withheld_chunks = len(needs.withheld)

    async def _look_at(self, record: Record, needs: Needs) -> None:
        """Look at a generation. Raises NotThereError if it is gone by now."""
        indexes: list[Index] = []
        lost: list[Place] = []
        for field in record.indexes:
            try:
                indexes.append(await self._repository.index(field.place))
            except (DamagedError, NotThereError):
                lost.append(field.place)
        await self._storage.size(names.record(record.place))  # goes before its indexes do
        await needs.look(record, indexes, alone=bool(lost))
        if not lost:
            self._moved_rows.update(needs.found)
        for place in lost:
            rows = self._rows.setdefault(place, {})
            rows.update(needs.found)
            if not needs.is_whole:
                self._unsure.add(place)
                rows.update(needs.unlisted.items())

    async def _owners(self) -> Owners:
        """Find out who lists packs. Indexes are read and forgotten: there may be many."""
        repository = self._repository
        running = await self._running()
        shared: set[PackId] = set()
        by_running: set[PackId] = set()
        for index in await repository.moved():
            shared.update(pack.pack_id for pack in index.packs)
        for key in await list_indexes(self._storage):
            if (place := names.parse_index(key)) is None:
                continue
            try:
                index = await repository.index(place)
            except (DamagedError, NotThereError):
                continue
            to = by_running if place.checkpoint_id in running else shared
            to.update(pack.pack_id for pack in index.packs)
        damaged = [names.parse_index(damage.key) for damage in self._verified.damages]
        is_complete = not any(place and place.checkpoint_id in running for place in damaged)
        return Owners(shared, by_running, is_complete)

    async def _running(self) -> set[CheckpointId]:
        """Return checkpoints that somebody may be writing to, those without records aside."""
        found = set()
        for checkpoint_id, places in (await self._repository.checkpoints()).items():
            try:
                if not is_ended(await self._repository.record(places[0])):
                    found.add(checkpoint_id)
            except (DamagedError, NotThereError):
                found.add(checkpoint_id)
        return found

    # ── What is done ─────────────────────────────────────────────────────────

    async def _rebuild(self, place: Place, rows: Mapping[ChunkId, ChunkPlace]) -> None:
        key = names.index(place)
        if not rows and place in self._unsure:
            self._done.hopeless.append(key)
            return
        self._done.rebuilt[key] = len(rows)
        if self._dry_run:
            return
        data = await asyncio.to_thread(index_format.build, rows, name_of(place))
        try:
            await self._repository.index(place)  # somebody else may have been here
        except NotThereError:
            pass
        except DamagedError:
            await self._storage.delete(key)
        else:
            return
        await self._put_new(key, data)
        _log.info("checkpoint_index_rebuilt", key=key, chunks=len(rows))

    async def _make_known(self) -> None:
        rows = self._moved_rows
        self._done.found_chunks = len(rows)
        if rows and not self._dry_run:
            name = new_pack_id(self._repository.rng)
            data = await asyncio.to_thread(index_format.build, rows, name_of_moved(name))
            await self._put_new(names.moved(name), data)

    async def _remove(self, name: PackId) -> None:
        key = names.moved(name)
        self._done.removed.append(key)
        if not self._dry_run:
            await self._storage.delete(key)

    async def _put_new(self, key: str, data: bytes) -> None:
        if self._dry_run:
            return
        try:
            await self._storage.put_new(key, data)
        except AlreadyThereError:
            _log.info("checkpoint_repaired_by_another", key=key)
