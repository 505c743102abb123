"""Hosts of the fleet and runs of jobs; which host drilled; what `status` looks up."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Create the tables of the scheduler and the indexes of the fleet."""
    op.create_table(
        "host",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("seen", sa.DateTime, nullable=False),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("heartbeat_s", sa.Float, nullable=False),
        sa.Column("version", sa.String, nullable=False),
        sa.Column("policy_digest", sa.String, nullable=False),
        sa.Column("plans", sa.JSON, nullable=False),
        sa.Column("jobs", sa.JSON, nullable=False),
        sa.Column("findings", sa.JSON, nullable=False),
    )
    op.create_table(
        "job_run",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("job", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("host", sa.String, nullable=False),
        sa.Column("scheduled", sa.DateTime, nullable=False),
        sa.Column("started", sa.DateTime, nullable=False),
        sa.Column("finished", sa.DateTime),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("outcome", sa.String, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
    )
    op.create_index("ix_job_run_newest", "job_run", ["owner", "job", "scheduled"])
    op.add_column("drill", sa.Column("host", sa.String, nullable=False, server_default=""))
    op.create_index(
        "ix_recovery_point_newest", "recovery_point", ["host", "plan", "verdict", "started"]
    )
    op.create_index("ix_drill_newest", "drill", ["host", "plan", "started"])


def downgrade() -> None:
    """Remove them."""
    op.drop_index("ix_drill_newest", "drill")
    op.drop_index("ix_recovery_point_newest", "recovery_point")
    op.drop_column("drill", "host")
    op.drop_index("ix_job_run_newest", "job_run")
    op.drop_table("job_run")
    op.drop_table("host")
