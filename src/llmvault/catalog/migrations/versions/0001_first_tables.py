"""Recovery points, drills and restores."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the first tables."""
    op.create_table(
        "recovery_point",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("plan", sa.String, nullable=False, index=True),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("started", sa.DateTime, nullable=False, index=True),
        sa.Column("finished", sa.DateTime, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("files", sa.BigInteger, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
    )
    op.create_table(
        "drill",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("plan", sa.String, nullable=False, index=True),
        sa.Column("recovery_point", sa.String, nullable=False, index=True),
        sa.Column("started", sa.DateTime, nullable=False, index=True),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("rto_objective_s", sa.Float, nullable=False),
        sa.Column("rto_measured_s", sa.Float),
        sa.Column("rpo_objective_s", sa.Float, nullable=False),
        sa.Column("rpo_measured_s", sa.Float),
        sa.Column("phases", sa.JSON, nullable=False),
        sa.Column("report", sa.String, nullable=False),
    )
    op.create_table(
        "restore",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("recovery_point", sa.String, nullable=False, index=True),
        sa.Column("started", sa.DateTime, nullable=False, index=True),
        sa.Column("target", sa.String, nullable=False),
        sa.Column("verdict", sa.String, nullable=False),
        sa.Column("sources", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Remove them."""
    for table in ("restore", "drill", "recovery_point"):
        op.drop_table(table)
