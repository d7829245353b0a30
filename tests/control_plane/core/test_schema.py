"""The migrations make the schema that the code uses, on both databases, and the core runs on it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec
import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext

from common.ids import UserId
from control_plane import schema, store_rows
from control_plane.errors import ConflictError
from control_plane.leadership import Leadership
from control_plane.model import (
    DEFAULT_COMPUTE_ENV,
    ComputeEnv,
    PersonName,
    Status,
    WorkspaceSettings,
)
from tests.control_plane.core.simulated_agent import EPOCH, studio
from tests.support.core_plane import open_plane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from sqlalchemy import Connection
    from sqlalchemy.ext.asyncio import AsyncEngine

    from tests.support.core_plane import Plane


@pytest.fixture
async def database(url: str) -> AsyncIterator[AsyncEngine]:
    engine = schema.connect(url)
    yield engine
    await engine.dispose()


async def test_migrations_make_the_schema_the_code_uses(database: AsyncEngine) -> None:
    await schema.upgrade(database)
    await schema.upgrade(database)

    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(connection, opts={"compare_type": _compare_type})
        return list(compare_metadata(context, schema.metadata))

    async with database.connect() as connection:
        assert await connection.run_sync(differences) == []


def _compare_type(_: object, __: object, found: object, wanted: object, ___: object) -> bool | None:
    # our times and enumerations are plain types in the database
    return False if isinstance(wanted, schema.UtcTime) else None


async def test_what_was_there_before_checkpoints_stays(url: str, database: AsyncEngine) -> None:
    def upgrade_to_0002(connection: Connection) -> None:
        config = Config()
        config.set_main_option("script_location", str(schema.MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")

    bob = PersonName(id=UserId(1), name="Bob")
    known = msgspec.structs.replace(studio(), owner=bob, next_lifespan_hours=8)
    old = store_rows.studio_columns(known)
    for added in ("initial_checkpoint_id", "checkpoint_requested_at"):
        del old[added]
    async with database.begin() as connection:
        await connection.run_sync(upgrade_to_0002)
        owner = {"id": 1, "name": "Bob", "role": "owner", "date_created": EPOCH}
        await connection.execute(sa.insert(schema.users).values(owner))
        workspace = {"id": 1, "name": "default", **store_rows.settings_columns(WorkspaceSettings())}
        await connection.execute(sa.insert(schema.workspaces).values(workspace))
        env = ComputeEnv(id=DEFAULT_COMPUTE_ENV, name="here", engine="local", work_dir="file:///w")
        columns = store_rows.compute_env_columns(env)
        await connection.execute(sa.insert(schema.compute_envs).values(workspace_id=1, **columns))
        await connection.execute(sa.insert(schema.studios).values(old))
        if connection.dialect.name == "postgresql":  # as after an insert that named no number
            await connection.execute(sa.text("SELECT setval('users_id_seq', 1)"))
    async with open_plane(url) as plane:
        assert await plane.get(known) == known
        await plane.service.start(plane.admin, known.session_id)
        assert (await plane.run_until(known, "running")).run_number == 1
        assert (await plane.service.checkpoints(plane.admin, known.session_id))[2] == 1


async def test_instances_that_start_at_once_migrate_once(url: str) -> None:
    engines = [schema.connect(url) for _ in range(3)]
    try:
        async with asyncio.TaskGroup() as group:
            for engine in engines:
                group.create_task(schema.upgrade(engine))
    finally:
        for engine in engines:
            await engine.dispose()


async def test_instances_that_open_a_new_sqlite_database_at_once_wait_for_each_other(
    tmp_path: Path,
) -> None:
    for number in range(30):
        engines = [schema.connect(f"sqlite:///{tmp_path}/{number}.db") for _ in range(4)]
        try:
            async with asyncio.TaskGroup() as group:
                for engine in engines:
                    group.create_task(_opened(engine))
        finally:
            for engine in engines:
                await engine.dispose()


async def _opened(engine: AsyncEngine) -> None:
    async with engine.connect():
        pass


async def test_sqlite_is_durable_and_checks_foreign_keys(tmp_path: Path) -> None:
    engine = schema.connect(f"sqlite:///{tmp_path}/studios.db")
    async with engine.connect() as connection:
        for pragma, value in (
            ("journal_mode", "wal"),
            ("foreign_keys", 1),
            ("busy_timeout", schema.BUSY_TIMEOUT_MS),
            ("synchronous", 2),
        ):
            found = (await connection.execute(sa.text(f"PRAGMA {pragma}"))).scalar_one()
            assert (pragma, found) == (pragma, value)
    await engine.dispose()


async def test_times_come_back_aware_and_naive_ones_are_refused(database: AsyncEngine) -> None:
    await schema.upgrade(database)
    async with database.begin() as connection:
        await connection.execute(sa.insert(schema.users).values(name="a", date_created=EPOCH))
        back = (await connection.execute(sa.select(schema.users.c.date_created))).scalar_one()
        assert (back, back.tzinfo) == (EPOCH, EPOCH.tzinfo)
    async with database.begin() as connection:
        with pytest.raises(sa.exc.StatementError, match="aware"):
            await connection.execute(
                sa.insert(schema.users).values(name="x", date_created=EPOCH.replace(tzinfo=None))
            )


async def test_core_runs_on_it(url: str) -> None:
    async with open_plane(url) as plane:
        studio = await plane.running()
        found, total = await plane.service.list(plane.admin, search="DEM")
        assert ([one.session_id for one in found], total) == ([studio.session_id], 1)
        await plane.service.extend(plane.admin, studio.session_id)
        await plane.service.stop(plane.admin, studio.session_id)
        stopped = await plane.run_until(studio, "stopped")
        assert stopped.status is Status.STOPPED
        await plane.service.delete(plane.admin, studio.session_id)
        await plane.create("demo")
        await plane.clock.advance(11)
        await plane.reconciler.run_once()
        assert not plane.host.state


async def test_concurrent_commands_make_one_run(url: str) -> None:
    async with open_plane(url) as plane:
        studio = await plane.create()
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(plane.service.start(plane.admin, studio.session_id))
        assert (await plane.get(studio)).run_number == 1


async def test_concurrent_creates_of_a_name_make_one_studio(url: str) -> None:
    async with open_plane(url) as plane:
        made = []

        async def create(plane: Plane) -> None:
            with contextlib.suppress(ConflictError):
                made.append(await plane.create("demo"))

        async with asyncio.TaskGroup() as group:
            for _ in range(6):
                group.create_task(create(plane))
        assert len(made) == 1


async def test_one_instance_leads_and_another_takes_over(url: str) -> None:
    async with open_plane(url) as plane:
        store = plane.service.core.store
        first, second = Leadership(store), Leadership(store)
        try:
            assert await first.is_ours()
            assert await first.is_ours()
            assert await second.is_ours() == (not store.is_shared)
            await first.close()
            assert await second.is_ours()
        finally:
            await first.close()
            await second.close()
