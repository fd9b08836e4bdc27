"""Schedules and their firings, watched folders, and notified ends of jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Create the tables; jobs that have ended already are not notified."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("jobs", sa.Column("told", sa.Integer, nullable=False, server_default="1"))
    op.create_index("jobs_untold", "jobs", ["told", "finished_at"])
    op.create_index("ix_jobs_schedule", "jobs", ["schedule"])
    op.create_table(
        "schedules",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("cron", sa.String, nullable=False),
        sa.Column("tz", sa.String, nullable=False),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("report", sa.String, nullable=False),
        sa.Column("reports", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("added_at", sa.String, nullable=False),
        sa.Column("last", sa.Float, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("catch_up", sa.Integer, nullable=False),
    )
    schedule = sa.ForeignKey("schedules.name", ondelete="CASCADE")
    op.create_table(
        "firings",
        sa.Column("schedule", sa.String, schedule, primary_key=True),
        sa.Column("at", big, primary_key=True),
        sa.Column("job", sa.String, nullable=False),
    )
    op.create_table(
        "watched",
        sa.Column("folder", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("modified_ns", big, nullable=False),
        sa.Column("job", sa.String, nullable=False),
    )
