"""What people delete goes from storage, too: once nobody needs it, by one collector at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest

from common.messages import CheckpointPhase
from control_plane.model import DEFAULT_COMPUTE_ENV
from control_plane.model_checkpoints import CheckpointState
from control_plane.removals import HOLD_SECONDS, NotHeldError, Removals
from control_plane.validation import CreateStudio
from tests.control_plane.core.checkpoint_scene import crash, listed, newest, save, status_of, stop

if TYPE_CHECKING:
    from common.messages import CheckpointStatus
    from control_plane.model import Studio
    from control_plane.model_checkpoints import Checkpoint
    from tests.support.core_plane import Plane

WORK = "file:///nowhere/work"


async def to_delete(plane: Plane) -> list[str]:
    async with Removals(plane.service.core).hold(WORK) as hold:
        assert hold is not None
        return [one.storage_id for one in await hold.to_delete()]


async def saved(plane: Plane, name: str = "demo", initial: Checkpoint | None = None) -> Studio:
    """A Studio that has saved something and is stopped."""
    request = CreateStudio(
        name=name,
        compute_env_id=DEFAULT_COMPUTE_ENV,
        initial_checkpoint_id=initial.id if initial else None,
    )
    studio = await plane.service.create(plane.admin, request, auto_start=True)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    return await stop(plane, studio)


async def forget(plane: Plane, studio: Studio) -> None:
    """Delete a Studio, and have its engine forget it."""
    await plane.service.delete(plane.admin, studio.session_id)
    await plane.clock.advance(11)
    await plane.reconciler.run_once()


async def test_a_deleted_checkpoint_is_on_the_list_until_its_data_is_gone(plane: Plane) -> None:
    studio = await saved(plane)
    first = await newest(plane, studio)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    await stop(plane, studio)
    assert await to_delete(plane) == []
    await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
    removals = Removals(plane.service.core)
    (here,) = await removals.work_directories()
    assert (here.url, here.is_waiting, here.ended_at) == (WORK, True, None)
    assert here.env is not None
    async with removals.hold(WORK) as hold:
        assert hold is not None
        (doomed,) = await hold.to_delete()
        assert (doomed.id, doomed.storage_id) == (first.id, first.storage_id)
        await hold.refused(doomed.id, "The bucket's policy forbids it." * 1000)
        assert await hold.to_delete() == [doomed]
        await hold.deleted(doomed.id)
        await hold.deleted(doomed.id)
        hold.is_ended = True
        assert await hold.to_delete() == []
    (here,) = await removals.work_directories()
    assert (here.is_waiting, here.ended_at) == (False, plane.clock.now())
    (left,) = await listed(plane, studio)
    assert left.parent_id is None


async def test_what_is_not_deleted_is_never_forgotten(plane: Plane) -> None:
    studio = await saved(plane)
    async with Removals(plane.service.core).hold(WORK) as hold:
        assert hold is not None
        await hold.deleted((await newest(plane, studio)).id)
    assert len(await listed(plane, studio)) == 1


async def test_a_studios_checkpoints_go_with_it_once_its_engine_forgot_it(plane: Plane) -> None:
    studio = await saved(plane)
    (only,) = await listed(plane, studio)
    await plane.service.delete(plane.admin, studio.session_id)
    assert await to_delete(plane) == []  # an agent of it may be alive
    await plane.clock.advance(11)
    await plane.reconciler.run_once()
    assert await to_delete(plane) == [only.storage_id]


async def test_a_studios_end_takes_nothing_from_those_added_from_it(plane: Plane) -> None:
    source = await saved(plane)
    needed = await newest(plane, source)
    request = CreateStudio(
        name="new", compute_env_id=DEFAULT_COMPUTE_ENV, initial_checkpoint_id=needed.id
    )
    new = await plane.service.create(plane.admin, request, auto_start=False)
    await forget(plane, source)
    assert await to_delete(plane) == []
    parent = (await plane.get(new)).parent_checkpoint
    assert parent is not None
    assert (parent.checkpoint_name, parent.studio_name) == (needed.name, "")
    await plane.service.start(plane.admin, new.session_id)
    await plane.run_until(new, "running")
    opened = await newest(plane, new)
    assert (opened.parent_id, opened.parent_run_number) == (needed.id, 1)
    assert await to_delete(plane) == []
    await save(plane, new)  # from here on storage keeps what the new Studio needs
    assert await to_delete(plane) == [needed.storage_id]
    async with Removals(plane.service.core).hold(WORK) as hold:
        assert hold is not None
        await hold.deleted(needed.id)
    parent = (await plane.get(new)).parent_checkpoint
    assert parent is not None
    assert (parent.checkpoint_name, parent.session_id) == ("", "")
    await stop(plane, new)
    await plane.service.start(plane.admin, new.session_id)
    assert (await newest(plane, new)).parent_id == opened.id


async def test_a_run_that_has_committed_nothing_keeps_what_it_began_with(plane: Plane) -> None:
    studio = await saved(plane)
    needed = await newest(plane, studio)
    await plane.service.start(plane.admin, studio.session_id)
    gone = msgspec.structs.replace(needed, deleted_at=plane.clock.now())
    async with plane.service.core.store.write() as transaction:  # as nobody may
        await transaction.checkpoints.save(gone, before=needed)
    assert await to_delete(plane) == []
    await plane.run_until(studio, "running")
    await save(plane, studio)
    assert await to_delete(plane) == [needed.storage_id]


async def test_a_studio_that_goes_unstarted_holds_on_to_nothing(plane: Plane) -> None:
    source = await saved(plane)
    needed = await newest(plane, source)
    request = CreateStudio(
        name="new", compute_env_id=DEFAULT_COMPUTE_ENV, initial_checkpoint_id=needed.id
    )
    new = await plane.service.create(plane.admin, request, auto_start=False)
    await forget(plane, source)
    await forget(plane, new)
    assert await to_delete(plane) == [needed.storage_id]


# ── What storage knows better ────────────────────────────────────────────────


async def unsure(plane: Plane) -> list[Checkpoint]:
    async with Removals(plane.service.core).hold(WORK) as hold:
        assert hold is not None
        return await hold.unsure()


async def looked_up(plane: Plane, one: Checkpoint, found: CheckpointStatus | None) -> None:
    async with Removals(plane.service.core).hold(WORK) as hold:
        assert hold is not None
        await hold.looked_up(one, found)


async def test_what_nobody_heard_of_is_looked_up_once_its_run_is_over(plane: Plane) -> None:
    await saved(plane, "finalized")
    studio = await plane.running()
    assert await unsure(plane) == []  # it may still speak for itself
    await crash(plane, studio)
    (one,) = await unsure(plane)
    assert (one.session_id, one.generation) == (studio.session_id, 0)
    await looked_up(plane, one, None)
    assert await unsure(plane) == [one]  # a later run may still save to it
    now = plane.clock.now()
    await looked_up(plane, one, status_of(one.storage_id, 4, committed_at=now))
    known = await newest(plane, studio)
    assert (known.generation, known.date_saved, known.state) == (4, now, CheckpointState.INTERIM)
    await plane.service.start(plane.admin, studio.session_id)
    assert (await newest(plane, studio)).parent_id == one.id
    final = status_of(one.storage_id, 4, phase=CheckpointPhase.FINALIZED)
    await looked_up(plane, known, final)
    assert await unsure(plane) == []


async def test_what_there_is_nothing_of_goes_once_a_later_one_holds_something(plane: Plane) -> None:
    studio = await plane.running()
    await crash(plane, studio)
    await plane.service.start(plane.admin, studio.session_id)
    await plane.run_until(studio, "running")
    await save(plane, studio)
    (one,) = await unsure(plane)
    assert one.run_number == 1
    await looked_up(plane, one, None)
    assert [left.run_number for left in await listed(plane, studio)] == [2]
    await looked_up(plane, one, status_of(one.storage_id, 1))  # too late: nothing happens
    assert [left.run_number for left in await listed(plane, studio)] == [2]
    await crash(plane, studio)
    (two,) = await unsure(plane)
    await looked_up(plane, two, None)  # its data is gone, or storage can't be what it was
    assert await newest(plane, studio) == two


# ── Whose turn it is ─────────────────────────────────────────────────────────


async def test_a_work_directory_is_held_by_one(plane: Plane) -> None:
    removals = Removals(plane.service.core)
    async with removals.hold(WORK) as first:
        assert first is not None
        await first.renew()
        async with removals.hold(WORK) as second, removals.hold("file:///other") as other:
            assert second is None
            assert other is not None
    async with removals.hold(WORK) as again:
        assert again is not None
    assert (await removals.work_directories())[0].ended_at is None  # nobody said so


async def test_who_says_nothing_for_long_holds_it_no_more(plane: Plane) -> None:
    removals = Removals(plane.service.core)
    async with removals.hold(WORK) as first:
        assert first is not None
        await plane.clock.advance(HOLD_SECONDS - 1)
        await first.renew()
        await plane.clock.advance(HOLD_SECONDS)
        async with removals.hold(WORK) as second:
            assert second is not None
            with pytest.raises(NotHeldError):
                await first.renew()
            first.is_ended = True
    async with removals.hold(WORK) as third:
        assert third is not None
    assert (await removals.work_directories())[0].ended_at is None


async def test_a_collection_that_fails_lets_go(plane: Plane) -> None:
    removals = Removals(plane.service.core)
    with pytest.raises(OSError, match="away"):
        async with removals.hold(WORK):
            raise OSError("away")
    async with removals.hold(WORK) as again:
        assert again is not None
