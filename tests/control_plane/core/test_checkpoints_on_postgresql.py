"""What other files claim of checkpoints on SQLite, on PostgreSQL: every query of theirs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from control_plane import schema
from control_plane.errors import ConflictError, NotFoundError
from control_plane.removals import Removals
from control_plane.validation import CreateStudio
from tests.control_plane.core import (
    test_removals as removals,
    test_run_checkpoints as runs,
    test_service_checkpoints as service,
)
from tests.control_plane.core.checkpoint_scene import save, stop, stopped
from tests.support.core_plane import open_plane
from tests.support.postgres import throw_away_server

if TYPE_CHECKING:
    from control_plane.model import Studio
    from control_plane.model_checkpoints import Checkpoint
    from tests.support.core_plane import Plane

pytestmark = pytest.mark.postgres

CLAIMS = {
    "runs": (
        runs.test_a_restored_backup_learns_what_was_saved_since,
        runs.test_numbers_of_any_size_can_be_kept,
        runs.test_a_studio_shows_the_session_under_way_or_what_the_next_begins_with,
        runs.test_checkpoints_follow_a_work_directory_that_moves,
    ),
    "people": (
        service.test_a_list_is_searched_and_paged,
        service.test_a_rename_is_kept_spelled_and_unique_within_the_studio,
        service.test_only_what_nobody_needs_is_deleted,
    ),
    "removals": (
        removals.test_a_deleted_checkpoint_is_on_the_list_until_its_data_is_gone,
        removals.test_a_studios_end_takes_nothing_from_those_added_from_it,
        removals.test_what_nobody_heard_of_is_looked_up_once_its_run_is_over,
        removals.test_a_work_directory_is_held_by_one,
        removals.test_who_says_nothing_for_long_holds_it_no_more,
    ),
}


async def copies(server: str, count: int) -> list[str]:
    """Databases with all tables: migrated once, copied often."""
    url = sa.make_url(server)
    made = [f"copy_{number}" for number in range(count)]
    engine = schema.connect(server)
    try:
        await schema.upgrade(engine)
    finally:
        await engine.dispose()
    engine = schema.connect(url.set(database="template1").render_as_string())
    try:
        async with engine.connect() as connection:
            alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in made:
                query = f"CREATE DATABASE {name} TEMPLATE {url.database}"
                await alone.execute(sa.text(query))
    finally:
        await engine.dispose()
    return [url.set(database=name).render_as_string() for name in made]


@pytest.mark.parametrize("about", CLAIMS)
async def test_claims_of_checkpoints_hold_on_it(about: str) -> None:
    claims = CLAIMS[about]
    async with throw_away_server() as server:
        databases = await copies(server, len(claims))
        for claim, database in zip(claims, databases, strict=True):
            async with open_plane(database) as plane:
                await claim(plane)


async def test_one_of_two_that_want_opposite_things_wins() -> None:
    """A checkpoint is deleted, or a Studio is added from it; never both."""
    async with throw_away_server() as server, open_plane(server) as plane:
        studio, first = await stopped(plane)
        await plane.service.start(plane.admin, studio.session_id)
        await plane.run_until(studio, "running")
        await save(plane, studio)
        await stop(plane, studio)
        for number in range(8):
            await _race(plane, studio, first, f"new {number}")


async def _race(plane: Plane, studio: Studio, first: Checkpoint, name: str) -> None:
    done: list[str] = []

    async def add() -> None:
        request = CreateStudio(
            name=name, compute_env_id=studio.compute_env_id, initial_checkpoint_id=first.id
        )
        try:
            await plane.service.create(plane.admin, request, auto_start=False)
        except NotFoundError:
            return
        done.append("added")

    async def delete() -> None:
        try:
            await plane.service.delete_checkpoint(plane.admin, studio.session_id, first.id)
        except ConflictError:
            return
        done.append("deleted")

    async with asyncio.TaskGroup() as group:
        for act in (add, delete) if int(name[-1]) % 2 else (delete, add):
            group.create_task(act())
    assert len(done) == 1
    await _undo(plane, first, name)


async def _undo(plane: Plane, first: Checkpoint, name: str) -> None:
    for studio in (await plane.service.list(plane.admin, search=name))[0]:
        await plane.service.delete(plane.admin, studio.session_id)
    async with plane.service.core.store.database.begin() as connection:
        await connection.execute(
            sa.update(schema.checkpoints)
            .where(schema.checkpoints.c.id == first.id)
            .values(deleted_at=None)
        )


async def test_two_collectors_that_come_first_at_once_are_one() -> None:
    async with throw_away_server() as server, open_plane(server) as plane:
        held = []
        everybody_came = asyncio.Barrier(4)

        async def collect() -> None:
            async with Removals(plane.service.core).hold("file:///new") as hold:
                held.append(hold)
                await everybody_came.wait()

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(collect())
        assert sum(hold is not None for hold in held) == 1
