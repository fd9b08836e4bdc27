"""Durable queue: the tables of the oldest version that can be upgraded."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("report", sa.String, nullable=False),
        sa.Column("labels", sa.String),
        sa.Column("key", sa.String, nullable=False),
        sa.Column("runtime", sa.String, nullable=False),
        sa.Column("batch", sa.Integer, nullable=False),
        sa.Column("limits", sa.JSON, nullable=False),
        sa.Column("max_failure_rate", sa.Float, nullable=False),
        sa.Column("hash_names", sa.Boolean, nullable=False),
        sa.Column("heatmaps", sa.Boolean, nullable=False),
        sa.Column("submitted_at", sa.String, nullable=False),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("worker", sa.String, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("finished_at", sa.String, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.String, nullable=False),
    )
    job = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    op.create_table(
        "films",
        sa.Column("job_id", sa.Integer, job, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("film", sa.String, nullable=False),
        sa.Column("size", big, nullable=False),
        sa.Column("is_file", sa.Integer, nullable=False),
        sa.Column("row", sa.JSON(none_as_null=True)),
        sa.UniqueConstraint("job_id", "film"),
    )
    job = sa.ForeignKey("jobs.id", ondelete="CASCADE")
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, job, nullable=False, index=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
    )
