"""Holds, and what retention deleted."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the tables of retention."""
    op.create_table(
        "hold",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("document", sa.String, nullable=False),
    )
    op.create_table(
        "deletion",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("retention_class", sa.String, nullable=False, index=True),
        sa.Column("repository", sa.String, nullable=False),
        sa.Column("recovery_point", sa.String, nullable=False, index=True),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("taken", sa.DateTime, nullable=False),
        sa.Column("deleted", sa.DateTime, nullable=False, index=True),
        sa.Column("why", sa.String, nullable=False),
        sa.Column("run", sa.String, nullable=False),
        sa.Column("approved_by", sa.JSON, nullable=False),
        sa.Column("bytes_added", sa.BigInteger, nullable=False),
        sa.Column("gone", sa.String, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    op.drop_table("deletion")
    op.drop_table("hold")
