"""When somebody first logged in: until then they are an invitation, and not yet a person."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("users", sa.Column("joined_at", sa.DateTime(), nullable=True))
    # who came before is taken for somebody who did log in: an invitation can be made anew
    op.execute("UPDATE users SET joined_at = date_created")


def downgrade() -> None:
    op.drop_column("users", "joined_at")
