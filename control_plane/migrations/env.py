"""Run by Alembic: migrates over the connection that `schema.upgrade` hands in."""

from __future__ import annotations

from alembic import context

from control_plane.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    compare_type=True,
)
with context.begin_transaction():
    context.run_migrations()
