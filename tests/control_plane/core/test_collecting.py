"""What people delete goes from real folders and buckets, in processes of their own."""

from __future__ import annotations

import random
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from checkpoints.repository import Repository
from checkpoints.storage.folder import FolderStorage
from checkpoints.storage.opening import REPOSITORY_FOLDER
from checkpoints.storage.urls import Access
from checkpoints.tree.entry import Entry, Inline, Kind
from common.clock import SteppingClock
from control_plane.collecting import Collector, Tally
from control_plane.model import DEFAULT_COMPUTE_ENV, DEFAULT_WORKSPACE
from control_plane.removals import Removals
from control_plane.schema import audit_events, checkpoints
from control_plane.work_access import WorkAccess
from tests.control_plane.core.checkpoint_scene import crash, listed, newest, save, stop
from tests.control_plane.core.test_removals import forget, saved
from tests.support.packed import Packing
from tests.support.s3_servers import BUCKET, CREDENTIALS, moto_server, open_bucket

if TYPE_CHECKING:
    from pathlib import Path

    from checkpoints.storage.storage import Storage
    from control_plane.model import Studio
    from control_plane.model_checkpoints import Checkpoint
    from tests.support.core_plane import Plane

HOUR = 3600.0


async def keep_in(plane: Plane, url: str) -> None:
    """Have the compute environment keep its checkpoints there."""
    async with plane.service.core.store.write() as transaction:
        env = await transaction.compute_env(DEFAULT_COMPUTE_ENV)
        moved = msgspec.structs.replace(env, work_dir=url)
        await transaction.save_compute_env(DEFAULT_WORKSPACE, moved)


async def repository(storage: Storage, seed: int = 3) -> Repository:
    return await Repository.open(
        storage, create=True, clock=SteppingClock(), rng=random.Random(seed)
    )


async def store(opened: Repository, checkpoint: Checkpoint, generation: int = 1) -> None:
    """What an agent would have stored under it."""
    packing = Packing()
    content = packing.file(checkpoint.storage_id.encode() * 100)
    entries = {
        b"root": Entry(kind=Kind.FOLDER),
        b"root/a": Entry(kind=Kind.FILE, content=content),
        b"root/b": Entry(kind=Kind.FILE, content=Inline(data=b"b")),
    }
    number = int(checkpoint.storage_id, 16)
    await packing.commit(opened, entries, checkpoint=number, generation=generation)


async def with_two(plane: Plane, opened: Repository) -> tuple[Studio, Checkpoint, Checkpoint]:
    """A Studio with two stored checkpoints, the first of which somebody deleted."""
    studio = await saved(plane)
    first = await newest(plane, studio)
    await store(opened, first)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    await stop(plane, studio)
    second = await newest(plane, studio)
    await store(opened, second)
    await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
    return studio, first, second


def chattr(change: str, path: Path) -> None:
    """Let nobody delete a file any more, the way a bucket's policy does; or let them again."""
    subprocess.run(["chattr", change, str(path)], check=True)


def collector(
    plane: Plane,
    tally: Tally | None = None,
    access: WorkAccess | None = None,
) -> Collector:
    core = plane.service.core
    if access is not None:
        core = replace(core, settings=replace(core.settings, access=access))
    return Collector(core, tally or Tally(), rng=random.Random(1))


async def rows(plane: Plane) -> list[tuple[bool, str]]:
    """Of each checkpoint that the database knows: whether it is deleted, and what is said of it."""
    async with plane.service.core.store.database.connect() as connection:
        query = sa.select(checkpoints.c.deleted_at, checkpoints.c.message)
        found = await connection.execute(query.order_by(checkpoints.c.id))
        return [(row.deleted_at is not None, row.message) for row in found]


BOTH = [(True, ""), (False, "")]
ONE_IS_GONE = [(False, "")]


async def audited(plane: Plane, action: str) -> list[dict[str, object]]:
    async with plane.service.core.store.database.connect() as connection:
        query = sa.select(audit_events.c.detail).where(audit_events.c.action == action)
        return list((await connection.execute(query)).scalars())


async def test_what_people_delete_goes_from_a_folder(plane: Plane, tmp_path: Path) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    studio, first, second = await with_two(plane, opened)
    assert await rows(plane) == BOTH
    tally = Tally()
    await collector(plane, tally).run_once()
    assert await rows(plane) == ONE_IS_GONE
    assert [one.id for one in await listed(plane, studio)] == [second.id]
    assert (await opened.records(first.storage_id)).generations == ()
    assert len((await opened.records(second.storage_id)).generations) == 1
    assert (tally.collections, tally.deleted_checkpoints, tally.failures) == (1, 1, 0)
    (event,) = await audited(plane, "checkpoint_data_deleted")
    assert (event["storageId"], event["records"]) == (first.storage_id, 1)


async def test_what_people_delete_goes_from_a_bucket_with_its_credentials(plane: Plane) -> None:
    with moto_server() as endpoint:
        await keep_in(plane, f"s3://{BUCKET}/team")
        opened = await repository(await open_bucket(endpoint, path="team"))
        _, first, second = await with_two(plane, opened)
        tally = Tally()
        access = WorkAccess("s3", Access(CREDENTIALS, endpoint))
        await collector(plane, tally, access).run_once()
        assert await rows(plane) == ONE_IS_GONE
        assert (await opened.records(first.storage_id)).generations == ()
        assert len((await opened.records(second.storage_id)).generations) == 1
        assert (tally.collections, tally.deleted_checkpoints) == (1, 1)


async def test_a_studios_end_deletes_all_that_it_saved(plane: Plane, tmp_path: Path) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    studio, *both = await with_two(plane, opened)
    await forget(plane, studio)
    await collector(plane).run_once()
    assert await rows(plane) == []
    for one in both:
        assert (await opened.records(one.storage_id)).generations == ()


async def test_a_refused_deletion_is_said_kept_and_tried_again(
    plane: Plane, tmp_path: Path
) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    _, first, _ = await with_two(plane, opened)
    folder = tmp_path / REPOSITORY_FOLDER / "checkpoints" / first.storage_id
    tally = Tally()
    it = collector(plane, tally)
    record = folder / f"{1:010d}"
    chattr("+i", record)
    try:
        await it.run_once()
        assert tally.deleted_checkpoints == 0
        assert tally.refused_deletions >= 1
        (deleted, why), _ = await rows(plane)
        assert deleted
        assert why.startswith("Storage refused to delete it: ")
    finally:
        chattr("-i", record)
    await it.run_once()
    assert len(await rows(plane)) == 2  # not at once: the store has just said no
    await plane.clock.advance(61)
    await it.run_once()
    assert await rows(plane) == ONE_IS_GONE


async def test_an_empty_place_is_not_taken_for_one_where_all_is_deleted(
    plane: Plane, tmp_path: Path
) -> None:
    """A folder that isn't mounted has no records, either."""
    mounted, bare = tmp_path / "mounted", tmp_path / "bare"
    mounted.mkdir()
    bare.mkdir()
    await keep_in(plane, bare.as_uri())
    opened = await repository(FolderStorage(mounted, REPOSITORY_FOLDER))
    await with_two(plane, opened)
    it = collector(plane)
    await it.run_once()
    (deleted, why), _ = await rows(plane)
    assert deleted
    assert "mount what it was saved to" in why
    bare.rmdir()
    mounted.rename(bare)
    await plane.clock.advance(61)
    await it.run_once()
    assert await rows(plane) == ONE_IS_GONE


async def test_a_folder_that_is_away_is_tried_again_later_and_later(
    plane: Plane, tmp_path: Path
) -> None:
    await keep_in(plane, (tmp_path / "away").as_uri())
    tally = Tally()
    it = collector(plane, tally)
    for seconds, failures in ((0, 1), (29, 1), (61, 2), (50, 2), (121, 3)):
        await plane.clock.advance(seconds)
        await it.run_once()
        assert tally.failures == failures, seconds
    assert tally.collections == 0
    (tmp_path / "away").mkdir()
    await plane.clock.advance(HOUR)
    await it.run_once()
    assert tally.collections == 1


async def test_collections_come_every_hour_and_after_deletions(
    plane: Plane, tmp_path: Path
) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    tally = Tally()
    it = collector(plane, tally)
    await it.run_once()
    await plane.clock.advance(HOUR - 1)
    await it.run_once()
    assert tally.collections == 1
    await plane.clock.advance(1)
    await it.run_once()
    assert tally.collections == 2
    await with_two(plane, opened)
    await it.run_once()
    assert (tally.collections, tally.deleted_checkpoints) == (3, 1)


async def test_what_nobody_heard_of_is_found_in_storage(plane: Plane, tmp_path: Path) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    studio = await plane.running()
    await save(plane, studio)
    await crash(plane, studio)
    known = await newest(plane, studio)
    await store(opened, known)
    await store(opened, known, generation=2)
    assert known.generation == 1
    await collector(plane).run_once()
    (found,) = await listed(plane, studio)
    assert (found.generation, found.file_bytes) == (2, 1601)


async def test_nothing_is_done_where_somebody_else_is_at_it(plane: Plane, tmp_path: Path) -> None:
    await keep_in(plane, tmp_path.as_uri())
    opened = await repository(FolderStorage(tmp_path, REPOSITORY_FOLDER))
    await with_two(plane, opened)
    tally = Tally()
    it = collector(plane, tally)
    async with Removals(plane.service.core).hold(tmp_path.as_uri()) as hold:
        assert hold is not None
        await it.run_once()
        assert (tally.collections, await rows(plane)) == (0, BOTH)
    await it.run_once()
    assert (tally.collections, await rows(plane)) == (1, ONE_IS_GONE)
