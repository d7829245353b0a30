"""The tables, and how a database gets them.

One schema for SQLite and PostgreSQL. Times are aware and in UTC on our side whatever the database
keeps. Values that are only ever read and written whole (a configuration, a report) are JSON in one
column; what is searched, joined or counted has columns of its own.

`upgrade` runs the migrations at every start; there is no other way a table comes to be, so the
tests run on what production runs on.
"""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection, Dialect
    from sqlalchemy.types import TypeEngine

MIGRATIONS = Path(__file__).parent / "migrations"
BUSY_TIMEOUT_MS = 10_000
"""How long a SQLite writer waits for another; a transaction here takes milliseconds."""
_SWITCH_PAUSE_MS = 10


class UtcTime(sa.TypeDecorator[datetime]):
    """An aware time; stored without zone, in UTC, because SQLite has no zones."""

    impl: TypeEngine[Any] | type[TypeEngine[Any]] = sa.DateTime
    cache_ok: bool | None = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        assert value.tzinfo is not None, "times are aware"
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else value.replace(tzinfo=UTC)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(column_0_label)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _user_id(*, nullable: bool = False) -> sa.Column[int]:
    return sa.Column("user_id", sa.ForeignKey("users.id"), nullable=nullable, index=True)


# ── People and their credentials (all hashed) ────────────────────────────────

users = sa.Table(
    "users",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("email", sa.String(254)),
    sa.Column("role", sa.String(16)),  # null: no member any more, still an owner to name
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("joined_at", UtcTime),  # null: invited, never logged in
)

login_links = sa.Table(
    "login_links",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    _user_id(),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("used_at", UtcTime),
)

login_codes = sa.Table(
    "login_codes",
    metadata,
    sa.Column("code_hash", sa.String(64), primary_key=True),
    _user_id(),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, nullable=False),
    sa.Column("used_at", UtcTime),
)

page_sessions = sa.Table(
    "page_sessions",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    _user_id(),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("last_used", UtcTime),
    sa.Column("expires_at", UtcTime, nullable=False),
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    _user_id(),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("last_used", UtcTime),
    sa.Column("expires_at", UtcTime),
    sa.Column("revoked_at", UtcTime),
)

signing_keys = sa.Table(
    "signing_keys",
    metadata,
    sa.Column("key_id", sa.String(64), primary_key=True),
    sa.Column("private_jwk", sa.Text, nullable=False),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("retired_at", UtcTime),  # still published, no longer signing
)

# ── The workspace ────────────────────────────────────────────────────────────

workspaces = sa.Table(
    "workspaces",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.String(80), nullable=False, unique=True),
    sa.Column("lifespan_hours", sa.Integer),  # null: each Studio chooses
    sa.Column("private_studio_by_default", sa.Boolean, nullable=False),
    sa.Column("container_repository", sa.Text, nullable=False),
    sa.Column("name_strategy", sa.String(32), nullable=False),
    sa.Column("running_sessions_max", sa.Integer),  # null: no limit
)

compute_envs = sa.Table(
    "compute_envs",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("workspace_id", sa.ForeignKey("workspaces.id"), nullable=False, index=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("engine", sa.String(32), nullable=False),
    sa.Column("region", sa.String(64), nullable=False),
    sa.Column("work_dir", sa.Text, nullable=False),
    sa.Column("single_writer", sa.Boolean, nullable=False),
    sa.Column("disk_limit_bytes", sa.BigInteger, nullable=False),
    sa.Column("environment", sa.JSON, nullable=False),
)

labels = sa.Table(
    "labels",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("workspace_id", sa.ForeignKey("workspaces.id"), nullable=False, index=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("value", sa.String(255)),
    sa.UniqueConstraint("workspace_id", "name", "value"),
)

# ── Studios ──────────────────────────────────────────────────────────────────

studios = sa.Table(
    "studios",
    metadata,
    sa.Column("session_id", sa.String(8), primary_key=True),
    sa.Column("workspace_id", sa.ForeignKey("workspaces.id"), nullable=False, index=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("template", sa.String(80), nullable=False),
    sa.Column("owner_id", sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("compute_env_id", sa.ForeignKey("compute_envs.id"), nullable=False, index=True),
    sa.Column("configuration", sa.JSON, nullable=False),
    sa.Column("is_private", sa.Boolean, nullable=False),
    sa.Column("allowed_user_ids", sa.JSON, nullable=False),
    sa.Column("status", sa.String(16), nullable=False, index=True),
    sa.Column("status_message", sa.Text, nullable=False),
    sa.Column("status_since", UtcTime, nullable=False),
    sa.Column("stop_reason", sa.String(32)),
    sa.Column("run_number", sa.Integer, nullable=False),
    sa.Column("forced", sa.Boolean, nullable=False),
    sa.Column("desired_version", sa.Integer, nullable=False),
    sa.Column("deadline", UtcTime),
    sa.Column("run_lifespan_hours", sa.Integer),
    sa.Column("session_configuration", sa.JSON(none_as_null=True)),
    sa.Column("job", sa.String(16), nullable=False),
    sa.Column("job_run", sa.Integer, nullable=False),
    sa.Column("job_detail", sa.Text, nullable=False),
    sa.Column("submit_attempts", sa.Integer, nullable=False),
    sa.Column("access_version", sa.Integer, nullable=False),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("last_updated", UtcTime, nullable=False),
    sa.Column("last_started", UtcTime),
    sa.Column("report", sa.JSON(none_as_null=True)),
    sa.Column("health", sa.JSON(none_as_null=True)),
    sa.Column("initial_checkpoint_id", sa.Integer, index=True),  # what it was added from
    sa.Column("checkpoint_requested_at", UtcTime),
)

live_names = sa.Index(
    "ux_studios_live_name",
    studios.c.workspace_id,
    studios.c.name,
    unique=True,
    sqlite_where=sa.text("NOT deleted"),
    postgresql_where=sa.text("NOT deleted"),
)
"""A name is taken until its Studio is deleted, not until the engine has forgotten it."""

studio_labels = sa.Table(
    "studio_labels",
    metadata,
    sa.Column(
        "session_id", sa.ForeignKey("studios.session_id", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("label_id", sa.ForeignKey("labels.id", ondelete="CASCADE"), primary_key=True),
)

# ── Checkpoints ──────────────────────────────────────────────────────────────
# No foreign keys: rows outlive their Studio, until what they name is deleted from storage.

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("storage_id", sa.String(16), nullable=False, unique=True),
    sa.Column("session_id", sa.String(8), nullable=False, index=True),
    sa.Column("name", sa.String(80), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("author_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("run_number", sa.Integer, nullable=False),
    sa.Column("compute_env_id", sa.String(64), nullable=False),
    sa.Column("work_dir", sa.Text, nullable=False, index=True),
    sa.Column("parent_id", sa.Integer, index=True),
    sa.Column("parent_run_number", sa.Integer),
    sa.Column("date_created", UtcTime, nullable=False),
    sa.Column("date_saved", UtcTime),
    sa.Column("generation", sa.BigInteger, nullable=False),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("file_bytes", sa.BigInteger, nullable=False),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False),
    sa.Column("image", sa.Text, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("deleted_at", UtcTime),  # gone for everybody; what it names is still to be deleted
    sqlite_autoincrement=True,  # an id never means another checkpoint
)

live_checkpoint_names = sa.Index(
    "ux_checkpoints_live_name",
    checkpoints.c.session_id,
    checkpoints.c.name,
    unique=True,
    sqlite_where=sa.text("deleted_at IS NULL"),
    postgresql_where=sa.text("deleted_at IS NULL"),
)

collections = sa.Table(
    "collections",
    metadata,
    sa.Column("work_dir", sa.Text, primary_key=True),
    sa.Column("holder", sa.String(64)),  # null: nobody is at it
    sa.Column("held_until", UtcTime),
    sa.Column("ended_at", UtcTime),
)

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcTime, nullable=False, index=True),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("actor_id", sa.Integer),  # null: the control plane itself
    sa.Column("session_id", sa.String(8), index=True),  # no foreign key: outlives the Studio
    sa.Column("detail", sa.JSON, nullable=False),
)


# ── Opening a database ───────────────────────────────────────────────────────


def connect(url: str) -> AsyncEngine:
    """Return an engine for `sqlite:///path`, `sqlite://` paths or `postgresql://…`."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "postgresql":
        return create_async_engine(parsed.set(drivername="postgresql+asyncpg"), pool_pre_ping=True)
    engine = create_async_engine(parsed.set(drivername="sqlite+aiosqlite"))
    event.listen(engine.sync_engine, "connect", _prepare_sqlite)
    event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _: Any) -> None:
    # the driver's own BEGIN is deferred and late: a reader that turns writer would fail at once
    # with "database is locked" instead of waiting; so it is told to begin nothing by itself
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _switch_to_wal(connection, cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def _switch_to_wal(connection: Any, cursor: Any) -> None:
    """Have readers and a writer not wait for each other. It is kept in the file.

    SQLite waits for nobody who is just doing the same, as instances that start at once do.
    """
    for left in reversed(range(max(1, BUSY_TIMEOUT_MS // _SWITCH_PAUSE_MS))):
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not left or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            connection.run_async(lambda _: asyncio.sleep(_SWITCH_PAUSE_MS / 1000))
        else:
            return


def _begin_sqlite(connection: Connection) -> None:
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


async def upgrade(engine: AsyncEngine) -> None:
    """Bring the database to the newest schema; safe to run at every start."""
    async with engine.begin() as connection:
        await connection.run_sync(_upgrade)


def _upgrade(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        # two instances may start at once; the lock ends with the transaction
        connection.execute(sa.text("SELECT pg_advisory_xact_lock(741052)"))
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
