"""Another Studio begins with what one has saved: whose it may be, and what is kept for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from common.messages import CheckpointPhase
from control_plane import schema
from control_plane.errors import ConflictError, InvalidError, NotFoundError, RefusedError
from control_plane.model import DEFAULT_COMPUTE_ENV, DEFAULT_WORKSPACE, ComputeEnvId, Role
from control_plane.validation import CreateStudio, UpdateStudio
from tests.control_plane.core.checkpoint_scene import (
    from_it,
    member,
    newest,
    save,
    spec_of,
    stop,
    stopped,
)

if TYPE_CHECKING:
    from control_plane.model import Studio
    from tests.support.core_plane import Plane


async def test_a_new_studio_begins_with_it_until_it_has_saved_something(plane: Plane) -> None:
    source, first = await stopped(plane)
    await plane.service.start(plane.admin, source.session_id)
    await plane.run_until(source, "running")
    await save(plane, source)
    new = await from_it(plane, first)
    assert new.template == source.template
    parent = new.parent_checkpoint
    assert parent is not None
    assert (parent.checkpoint_id, parent.checkpoint_name) == (first.id, first.name)
    assert (parent.session_id, parent.studio_name) == (source.session_id, "demo")
    for run in (1, 2):  # the first saves nothing
        await plane.service.start(plane.admin, new.session_id)
        spec = await spec_of(plane, new, run)
        assert spec.parent_id == first.storage_id
        assert spec.parent_run_number == 2  # whatever the source's runs still do, they are fenced
        await plane.service.stop(plane.admin, new.session_id)
        await plane.run_until(new, "stopped")
    await plane.service.start(plane.admin, new.session_id)
    await plane.run_until(new, "running")
    own = await save(plane, new)
    await stop(plane, new)
    await plane.service.start(plane.admin, new.session_id)
    spec = await spec_of(plane, new, 4)
    assert (spec.parent_id, spec.parent_run_number) == (own.storage_id, None)


async def test_its_names_are_those_of_now(plane: Plane) -> None:
    source, first = await stopped(plane)
    new = await from_it(plane, first)
    await plane.service.rename_checkpoint(plane.admin, source.session_id, first.id, "the best")
    await plane.service.update(plane.admin, source.session_id, UpdateStudio(name="source"))
    parent = (await plane.get(new)).parent_checkpoint
    assert parent is not None
    assert (parent.checkpoint_name, parent.studio_name) == ("the_best", "source")


async def test_nobody_begins_with_what_is_still_written_or_holds_nothing(plane: Plane) -> None:
    studio = await plane.running()
    empty = await newest(plane, studio)
    with pytest.raises(ConflictError, match="stop that Studio first, or take an earlier"):
        await from_it(plane, empty)
    await save(plane, studio)
    with pytest.raises(ConflictError, match="stop that Studio first"):
        await from_it(plane, await newest(plane, studio))
    await save(plane, studio, 2, phase=CheckpointPhase.FINALIZED)
    await from_it(plane, await newest(plane, studio), "of a session that ends")
    await stop(plane, studio)
    other = await plane.running("other")
    await plane.service.stop(plane.admin, other.session_id)
    await plane.run_until(other, "stopped")
    with pytest.raises(InvalidError, match="Nothing was saved"):
        await from_it(plane, await newest(plane, other))
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(sa.update(schema.checkpoints).values(state="invalid"))
    with pytest.raises(InvalidError, match="is damaged"):
        await from_it(plane, await newest(plane, studio), "of a damaged one")


async def test_there_is_no_checkpoint_of_any_number(plane: Plane) -> None:
    _, first = await stopped(plane)
    for number in (0, -1, first.id + 1, 2**31, 2**70):
        request = CreateStudio(
            name="x", compute_env_id=DEFAULT_COMPUTE_ENV, initial_checkpoint_id=number
        )
        with pytest.raises(NotFoundError, match="There is no checkpoint"):
            await plane.service.create(plane.admin, request, auto_start=False)
    assert (await plane.service.list(plane.admin))[1] == 1


async def test_it_is_found_only_where_sessions_keep_theirs(plane: Plane) -> None:
    _, first = await stopped(plane)
    async with plane.service.core.store.write() as transaction:
        here = await transaction.compute_env(DEFAULT_COMPUTE_ENV)
        for name, work_dir in (("far", "s3://far"), ("near", here.work_dir)):
            env = type(here)(id=ComputeEnvId(name), name=name, engine="local", work_dir=work_dir)
            await transaction.save_compute_env(DEFAULT_WORKSPACE, env)

    async def create(env: str) -> Studio:
        request = CreateStudio(
            name=env, compute_env_id=ComputeEnvId(env), initial_checkpoint_id=first.id
        )
        return await plane.service.create(plane.admin, request, auto_start=False)

    with pytest.raises(InvalidError, match="choose the compute environment “local”"):
        await create("far")
    assert (await create("near")).parent_checkpoint is not None


async def test_files_of_a_private_studio_are_for_its_own_people(plane: Plane) -> None:
    studio, first = await stopped(plane)
    private = UpdateStudio(is_private=True)
    await plane.service.update(plane.admin, studio.session_id, private)
    other_admin = await member(plane, Role.ADMIN)
    with pytest.raises(RefusedError, match="is private"):
        await from_it(plane, first, person=other_admin)
    allowed = UpdateStudio(allowed_user_ids=(other_admin.id,))
    await plane.service.update(plane.admin, studio.session_id, allowed)
    assert (await from_it(plane, first, person=other_admin)).owner.name == "Bob"
