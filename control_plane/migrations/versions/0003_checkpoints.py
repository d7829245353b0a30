"""Checkpoints: what each run saves, and who is collecting what nothing needs any more."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studios", sa.Column("initial_checkpoint_id", sa.Integer(), nullable=True))
    op.create_index("ix_studios_initial_checkpoint_id", "studios", ["initial_checkpoint_id"])
    op.add_column("studios", sa.Column("checkpoint_requested_at", sa.DateTime(), nullable=True))
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("storage_id", sa.String(length=16), nullable=False),
        sa.Column("session_id", sa.String(length=8), nullable=False),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("author_id", sa.Integer(), nullable=False),
        sa.Column("run_number", sa.Integer(), nullable=False),
        sa.Column("compute_env_id", sa.String(length=64), nullable=False),
        sa.Column("work_dir", sa.Text(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("parent_run_number", sa.Integer(), nullable=True),
        sa.Column("date_created", sa.DateTime(), nullable=False),
        sa.Column("date_saved", sa.DateTime(), nullable=True),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("entries", sa.BigInteger(), nullable=False),
        sa.Column("file_bytes", sa.BigInteger(), nullable=False),
        sa.Column("stored_bytes", sa.BigInteger(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("deleted_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["author_id"], ["users.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("storage_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_checkpoints_session_id", "checkpoints", ["session_id"])
    op.create_index("ix_checkpoints_work_dir", "checkpoints", ["work_dir"])
    op.create_index("ix_checkpoints_parent_id", "checkpoints", ["parent_id"])
    op.create_index(
        "ux_checkpoints_live_name",
        "checkpoints",
        ["session_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "collections",
        sa.Column("work_dir", sa.Text(), nullable=False),
        sa.Column("holder", sa.String(length=64), nullable=True),
        sa.Column("held_until", sa.DateTime(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("work_dir"),
    )


def downgrade() -> None:
    raise NotImplementedError("nothing would know the checkpoints any more: restore a backup")
