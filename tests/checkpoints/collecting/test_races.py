"""Whoever writes while something is collected, keeps what it relied on.

One test for each reason that the format gives, and what happens without it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from checkpoints.collecting import survey
from checkpoints.collecting.collector import collect
from checkpoints.collecting.deleting import delete_checkpoint
from checkpoints.collecting.settings import Settings
from checkpoints.format import names
from checkpoints.format.damage import DamagedError
from checkpoints.reading.verify import verify
from checkpoints.storage.failures import NotThereError
from checkpoints.writing import reliance
from checkpoints.writing.reliance import ParentGoneError
from checkpoints.writing.writer import Writer
from tests.support.checkpoint_rig import CHECKPOINT, OTHER, fill, read_back, seen, writer
from tests.support.collecting_store import AgingStore, keys_in, packs_in, repository_in
from tests.support.faulty_store import FaultyStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from checkpoints.format.record import Record
    from checkpoints.storage.storage import Listed
    from tests.support.collecting_store import Calendar

    Act = Callable[[], Awaitable[None]]

DEFAULT = Settings()
WITHOUT_A_DAY = replace(DEFAULT, tombstone_age=timedelta(), apart=timedelta())
WITHOUT_TWO = replace(DEFAULT, apart=timedelta())


class Meanwhile(FaultyStore):
    """Lets something happen right before an object of some folder is created."""

    act: Act | None = None
    before: str = names.RECORDS

    async def put_new(self, key: str, data: bytes) -> None:
        if self.act is not None and key.startswith(self.before):
            act, self.act = self.act, None
            await act()
        await super().put_new(key, data)


class Stage:
    """A checkpoint was deleted, and the next collection announces its packs.

    But there is a writer who knows it from before, and is about to write the same content.
    """

    def __init__(self, store: AgingStore, clock: Calendar, folder: Path) -> None:
        self.clock = clock
        self.store = store
        self.theirs = Meanwhile(store)
        self.old, self.volume = folder / "old", folder / "volume"

    async def prepare(self) -> None:
        self.collector = await repository_in(self.store, self.clock)
        self.old.mkdir()
        self.volume.mkdir()
        fill(self.old, 1)
        await (await writer(self.collector, OTHER)).write(self.old, final=True)
        self.doomed = await packs_in(self.store)
        found = await repository_in(self.theirs, self.clock, seed=2)
        self.writer = await Writer.open(found, CHECKPOINT, run_number=1)
        (self.volume / "first").write_bytes(b"something of its own")
        await self.writer.write(self.volume)
        await delete_checkpoint(self.collector, OTHER)
        self.clock.pass_by(hours=24)
        await self.collect()
        self.clock.pass_by(hours=4)
        fill(self.volume, 1)

    async def collect(self, settings: Settings = DEFAULT) -> None:
        assert not (await collect(self.collector, settings)).is_blocked

    async def collect_for_days(self) -> None:
        for _ in range(30):
            self.clock.pass_by(hours=5)
            await self.collect()

    async def is_whole(self, record: Record) -> bool:
        """Say whether what was written reads back, as everything there does."""
        found = await repository_in(self.store, self.clock, seed=3)
        try:
            things = await read_back(found, record)
        except (DamagedError, NotThereError):
            assert not (await verify(found)).is_sound
            return False
        assert things == seen(self.volume)
        assert (await verify(found)).is_sound
        return True


@pytest.fixture
async def stage(store: AgingStore, clock: Calendar, tmp_path: Path) -> Stage:
    stage = Stage(store, clock, tmp_path)
    await stage.prepare()
    return stage


async def test_a_pack_that_is_announced_after_the_look_is_kept(stage: Stage) -> None:
    """The tombstone is put between the writer's last look and its record."""
    stage.theirs.act = stage.collect
    record = await stage.writer.write(stage.volume)
    assert await keys_in(stage.store, names.TOMBSTONES)
    assert not record.added.raw_bytes > 100_000  # it did rely on what was announced
    stage.clock.pass_by(hours=5)
    assert len(await keys_in(stage.store, names.TOMBSTONES)) == 2
    await stage.collect()
    assert len(await keys_in(stage.store, names.TOMBSTONES)) == 1  # of the old tree
    await stage.collect_for_days()
    assert await stage.is_whole(record)


async def test_without_the_day_between_announcement_and_end_it_would_be_lost(
    stage: Stage,
) -> None:
    async def announce_and_delete() -> None:
        await stage.collect(WITHOUT_A_DAY)
        await stage.collect(WITHOUT_A_DAY)

    stage.theirs.act = announce_and_delete
    record = await stage.writer.write(stage.volume)
    assert not await stage.is_whole(record)


async def test_a_pack_that_is_announced_before_the_look_is_stored_again(stage: Stage) -> None:
    """It was found at the beginning of the write; the look before the commit is later."""
    stage.theirs.before = "index/"
    stage.theirs.act = stage.collect
    record = await stage.writer.write(stage.volume)
    assert record.added.raw_bytes > 900_000
    await stage.collect_for_days()
    assert await stage.is_whole(record)
    assert not stage.doomed & await packs_in(stage.store)


async def test_without_the_second_look_a_writer_that_takes_a_day_would_lose_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def announce_and_delete() -> None:
        for _ in range(3):
            await stage.collect()
            stage.clock.pass_by(hours=25)

    async def blind(*_: object, **__: object) -> None:
        pass

    stage.theirs.before = "index/"
    stage.theirs.act = announce_and_delete
    monkeypatch.setattr(reliance, "_look_once", blind)
    record = await stage.writer.write(stage.volume)
    assert not await stage.is_whole(record)


async def test_a_writer_that_takes_a_day_stores_again_what_went(stage: Stage) -> None:
    async def announce_and_delete() -> None:
        for _ in range(3):
            await stage.collect()
            stage.clock.pass_by(hours=25)
        assert not stage.doomed & await packs_in(stage.store)

    stage.theirs.before = "index/"
    stage.theirs.act = announce_and_delete
    record = await stage.writer.write(stage.volume)
    await stage.collect_for_days()
    assert await stage.is_whole(record)


async def _continued_while_deleted(
    store: AgingStore, clock: Calendar, folder: Path, settings: Settings, collections: int
) -> bool:
    """Delete a checkpoint right after a look at it, and let collections find its index useless.

    Return whether what continues it is whole in the end.
    """
    collector = await repository_in(store, clock)
    fill(folder, 1)
    parent = await (await writer(collector, OTHER)).write(folder, final=True)
    clock.pass_by(hours=30)

    async def delete_and_collect() -> None:
        await delete_checkpoint(collector, OTHER)
        for _ in range(collections):
            await collect(collector, settings)

    theirs = Meanwhile(store)
    theirs.act = delete_and_collect
    found = await repository_in(theirs, clock, seed=2)
    with pytest.raises(ParentGoneError):  # so that the run doesn't begin; but the record is there
        await Writer.open(found, CHECKPOINT, run_number=2, parent=parent)
    for _ in range(30):
        clock.pass_by(hours=5)
        await collect(collector)
    (record,) = (await found.records(CHECKPOINT)).found
    try:
        return await read_back(found, record) == seen(folder)
    except DamagedError:
        return False


async def test_what_is_continued_is_kept_though_a_collection_saw_neither_record(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    assert await _continued_while_deleted(store, clock, tmp_path, DEFAULT, 1)


async def test_without_two_collections_its_index_would_be_lost(
    store: AgingStore, clock: Calendar, tmp_path: Path
) -> None:
    assert not await _continued_while_deleted(store, clock, tmp_path, WITHOUT_TWO, 2)


class Straddling(AgingStore):
    """Lets something happen while records are listed: after some names, before the others."""

    act: Act | None = None

    async def list(self, prefix: str, *, after: str = "") -> AsyncIterator[Listed]:
        if prefix != names.RECORDS or self.act is None:
            async for listed in super().list(prefix, after=after):
                yield listed
            return
        act, self.act = self.act, None
        middle = f"{names.RECORDS}{OTHER}"
        async for listed in super().list(prefix, after=after):
            if listed.key < middle:
                yield listed
        await act()
        async for listed in super().list(prefix, after=middle):
            yield listed


@pytest.mark.parametrize("listings", [survey.LISTINGS_MAX, 1])
async def test_a_listing_that_shows_neither_a_record_nor_what_continues_it_is_not_the_last(
    clock: Calendar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listings: int
) -> None:
    """With one listing alone, all that both need counts as unused."""
    assert CHECKPOINT < OTHER
    store = Straddling(clock)
    collector = await repository_in(store, clock)
    fill(tmp_path, 1)
    parent = await (await writer(collector, OTHER)).write(tmp_path, final=True)
    clock.pass_by(hours=30)

    async def continue_and_delete() -> None:
        found = await repository_in(store, clock, seed=2)
        await Writer.open(found, CHECKPOINT, run_number=2, parent=parent)
        await delete_checkpoint(found, OTHER)

    store.act = continue_and_delete
    if listings == 1:
        monkeypatch.setattr(survey, "LISTINGS_MAX", 1)
        outcome = await collect(collector, dry_run=True)
        assert outcome.is_blocked  # nothing would be done, but for
        assert outcome.unused_packs == 2
        return
    outcome = await collect(collector)
    assert not outcome.unused_packs
    assert not outcome.problems
