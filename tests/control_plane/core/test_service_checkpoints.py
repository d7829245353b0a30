"""What people do with checkpoints: find, rename, delete, save now, begin another Studio."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from common.ids import RunNumber
from control_plane import schema
from control_plane.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from control_plane.model import Role
from control_plane.model_checkpoints import CheckpointNumber
from tests.control_plane.core.checkpoint_scene import (
    from_it,
    listed,
    member,
    newest,
    save,
    say,
    status_of,
    stop,
    stopped,
)

if TYPE_CHECKING:
    from control_plane.model_checkpoints import Checkpoint
    from tests.support.core_plane import Plane


async def actions(plane: Plane) -> list[str]:
    async with plane.service.core.store.database.connect() as connection:
        query = sa.select(schema.audit_events.c.action).order_by(schema.audit_events.c.id)
        return list((await connection.execute(query)).scalars())


# ── Looking ──────────────────────────────────────────────────────────────────


async def test_a_list_is_searched_and_paged(plane: Plane) -> None:
    carol = await member(plane, Role.LAUNCH, "Carol")
    studio, _ = await stopped(plane)
    await plane.clock.advance(24 * 3600)
    await plane.service.start(carol, studio.session_id)
    await plane.run_until(studio, "running")
    second = await save(plane, studio)
    day = second.date_created.date()

    async def runs(search: str) -> list[int]:
        return [one.run_number for one in await listed(plane, studio, search)]

    assert await runs("") == [2, 1]
    assert await runs("status:interim") == [2]
    assert await runs("status:finalized status:interim") == [2, 1]
    assert await runs("status:invalid") == []
    assert await runs("author:carol") == [2]
    assert await runs("author:%") == []
    assert await runs(f"before:{day}") == [1]
    assert await runs(f"after:{day}") == [2]
    assert await runs(f"after:{day - timedelta(days=1)} before:{day + timedelta(days=1)}") == [2, 1]
    await plane.service.rename_checkpoint(plane.admin, studio.session_id, second.id, "50% Done")
    assert await runs("50% done") == await runs('"50% done"') == await runs("DONE 50") == [2]
    assert await runs("demo") == [1]
    service = plane.service
    _, page, total = await service.checkpoints(plane.admin, studio.session_id, max=1, offset=1)
    assert ([one.run_number for one in page], total) == ([1], 2)
    for size, offset in ((51, 0), (1, -1)):
        with pytest.raises(InvalidError):
            await service.checkpoints(plane.admin, studio.session_id, max=size, offset=offset)


async def test_a_checkpoint_is_its_studios(plane: Plane) -> None:
    (studio, mine), (other, _) = await stopped(plane), await stopped(plane, "other")
    _, found = await plane.service.checkpoint(plane.admin, studio.session_id, mine.id)
    assert found == mine
    for session_id, number in ((other.session_id, mine.id), (studio.session_id, mine.id + 77)):
        wrong = CheckpointNumber(number)
        for call in (
            plane.service.checkpoint(plane.admin, session_id, wrong),
            plane.service.rename_checkpoint(plane.admin, session_id, wrong, "x"),
            plane.service.delete_checkpoint(plane.admin, session_id, wrong),
        ):
            with pytest.raises(NotFoundError, match="look at the list"):
                await call


# ── Renaming ─────────────────────────────────────────────────────────────────


async def test_a_rename_is_kept_spelled_and_unique_within_the_studio(plane: Plane) -> None:
    (studio, mine), (other, theirs) = await stopped(plane), await stopped(plane, "other")
    service, admin = plane.service, plane.admin
    _, renamed = await service.rename_checkpoint(admin, studio.session_id, mine.id, " my work ")
    assert renamed.name == (await newest(plane, studio)).name == "my_work"
    await service.rename_checkpoint(admin, studio.session_id, mine.id, "my work")  # as it is
    await service.rename_checkpoint(admin, other.session_id, theirs.id, "my work")
    await service.start(admin, studio.session_id)
    second = await newest(plane, studio)
    with pytest.raises(ConflictError, match="“my_work” already"):
        await service.rename_checkpoint(admin, studio.session_id, second.id, "my work")
    for wrong in (" ", "x" * 81, "a\nb"):
        with pytest.raises(InvalidError):
            await service.rename_checkpoint(admin, studio.session_id, mine.id, wrong)
    assert (await actions(plane)).count("studio_checkpoint_renamed") == 2


# ── Saving now ───────────────────────────────────────────────────────────────


async def test_saving_now_is_wanted_of_the_agent_until_it_answers(plane: Plane) -> None:
    studio = await plane.running()
    await plane.clock.advance(1)
    asked, checkpoint = await plane.service.save_now(plane.admin, studio.session_id)
    assert checkpoint == await newest(plane, studio)
    desired = await plane.service.wait_desired(
        studio.session_id, RunNumber(1), after=studio.desired_version, wait_seconds=0
    )
    assert desired is not None
    assert desired.checkpoint_requested_at == asked.checkpoint_requested_at == plane.clock.now()
    await plane.clock.advance(1)
    again, _ = await plane.service.save_now(plane.admin, studio.session_id)
    assert again.checkpoint_requested_at == plane.clock.now()
    assert again.desired_version == asked.desired_version + 1
    await stop(plane, studio)
    await plane.service.start(plane.admin, studio.session_id)
    assert (await plane.get(studio)).checkpoint_requested_at is None
    assert (await actions(plane)).count("studio_checkpoint_requested") == 2


async def test_nothing_is_saved_now_but_by_a_running_session(plane: Plane) -> None:
    studio = await plane.create()

    async def refused(sentence: str) -> None:
        with pytest.raises(ConflictError, match=sentence):
            await plane.service.save_now(plane.admin, studio.session_id)

    await refused("start it first")
    await plane.service.start(plane.admin, studio.session_id)
    await refused("once it is running")
    await plane.run_until(studio, "running")
    await plane.service.save_now(plane.admin, studio.session_id)
    await plane.service.stop(plane.admin, studio.session_id)
    await refused("at its end")
    await plane.run_until(studio, "stopped")
    await refused("start it first")


# ── Deleting ─────────────────────────────────────────────────────────────────


async def test_only_what_nobody_needs_is_deleted(plane: Plane) -> None:
    studio, first = await stopped(plane)

    async def refused(checkpoint: Checkpoint, sentence: str) -> None:
        with pytest.raises(ConflictError, match=sentence):
            await plane.service.delete_checkpoint(plane.admin, studio.session_id, checkpoint.id)

    await refused(first, "next session begins with this")
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    second = await newest(plane, studio)
    await refused(second, "still saves to this")
    await refused(first, "next session begins with this")
    await save(plane, studio)
    await refused(first, "“demo” began with this")
    await stop(plane, studio)
    waiting = await from_it(plane, first)
    await refused(first, "“new” was added from this")
    await plane.service.start(plane.admin, waiting.session_id)
    await plane.run_until(waiting, "running")
    await save(plane, waiting)
    await refused(first, "“new” began with this")
    await stop(plane, waiting)
    await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
    assert [one.id for one in await listed(plane, studio)] == [second.id]
    assert (await actions(plane)).count("studio_checkpoint_deleted") == 1
    with pytest.raises(NotFoundError):
        await from_it(plane, first, "another")


async def test_a_name_is_free_once_its_checkpoint_is_deleted(plane: Plane) -> None:
    studio, first = await stopped(plane)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    second = await newest(plane, studio)
    await stop(plane, studio)
    await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
    _, renamed = await plane.service.rename_checkpoint(
        plane.admin, studio.session_id, second.id, first.name
    )
    assert renamed.name == first.name


async def test_an_agent_does_not_bring_back_what_was_deleted(plane: Plane) -> None:
    studio, first = await stopped(plane)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    await stop(plane, studio)
    await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await say(plane, studio, 3, None, status_of(first.storage_id, 30))
    assert first.id not in {one.id for one in await listed(plane, studio)}
    async with plane.service.core.store.read() as transaction:
        deleted = await transaction.checkpoints.known_as(first.storage_id)
        assert deleted is not None
        assert deleted.generation == first.generation


async def test_what_a_later_session_may_find_files_of_is_not_deleted(plane: Plane) -> None:
    studio = await plane.running()
    await plane.service.stop(plane.admin, studio.session_id)
    await plane.run_until(studio, "stopped")
    unsaved = await newest(plane, studio)

    async def delete() -> None:
        await plane.service.delete_checkpoint(plane.admin, studio.session_id, unsaved.id)

    with pytest.raises(ConflictError, match="may find files"):
        await delete()
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    with pytest.raises(ConflictError, match="may find files"):
        await delete()
    await save(plane, studio)
    await delete()


# ── Who may ──────────────────────────────────────────────────────────────────


async def test_roles_are_asked_before_anything_is_done(plane: Plane) -> None:
    studio, first = await stopped(plane)
    viewer, launcher = await member(plane, Role.VIEW), await member(plane, Role.LAUNCH, "Carol")
    service, session_id = plane.service, studio.session_id
    assert (await service.checkpoints(viewer, session_id))[2] == 1
    assert (await service.checkpoint(viewer, session_id, first.id))[1] == first
    for call in (
        service.rename_checkpoint(launcher, session_id, first.id, "\n"),
        service.delete_checkpoint(launcher, session_id, first.id),
        service.save_now(viewer, session_id),
    ):
        with pytest.raises(RefusedError, match="ask"):
            await call
    await service.start(plane.admin, session_id)
    await plane.run_until(studio, "running")
    await service.save_now(launcher, session_id)
