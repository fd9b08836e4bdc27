"""Baseline: the tables of the first release. Queues of the revisions before it cannot be upgraded."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = None

_BIG = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    _create_jobs()
    _create_schedules()
    op.create_table(
        "pins",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    op.create_table(
        "nights",
        sa.Column("job", sa.String, primary_key=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("submitted_at", sa.String, nullable=False),
        sa.Column("profile", sa.JSON, nullable=False),
    )
    op.create_index("nights_of_site", "nights", ["site", "model_sha256", "submitted_at"])


def _create_jobs() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("folder", sa.String, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("report", sa.String, nullable=False),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("submitted_at", sa.String, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("identity", sa.String(64), nullable=False),
        sa.Column("schedule", sa.String, nullable=False, index=True),
        sa.Column("state", sa.String, nullable=False, index=True),
        sa.Column("not_before", sa.Float, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("fence", sa.Integer, nullable=False),
        sa.Column("worker", sa.String, nullable=False),
        sa.Column("lease", sa.Float, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("started_at", sa.String, nullable=False),
        sa.Column("listed_at", sa.String, nullable=False),
        sa.Column("finished_at", sa.String, nullable=False),
        sa.Column("exit_code", sa.Integer),
        sa.Column("message", sa.String, nullable=False),
        sa.Column("films", sa.Integer, nullable=False),
        sa.Column("committed", sa.Integer, nullable=False),
        sa.Column("told", sa.Integer, nullable=False),
    )
    op.create_index("jobs_untold", "jobs", ["told", "finished_at"])
    still_open = sa.text("state IN ('queued', 'running') AND identity <> ''")
    op.create_index(
        "jobs_open_identity",
        "jobs",
        ["identity"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )
    op.create_table(
        "films",
        sa.Column("job_id", sa.Integer, _job(), primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("film", sa.String, nullable=False),
        sa.Column("size", _BIG, nullable=False),
        sa.Column("modified_ns", _BIG, nullable=False),
        sa.Column("is_file", sa.Integer, nullable=False),
        sa.Column("in_hand", sa.Integer, nullable=False),
        sa.Column("deaths", sa.Integer, nullable=False),
        sa.Column("status", sa.String),
        sa.Column("sha256", sa.String, index=True),
        sa.Column("row", sa.JSON(none_as_null=True)),
        sa.Column("lost_fence", sa.Integer, nullable=False, server_default="0"),
        sa.UniqueConstraint("job_id", "film"),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Integer, _job(), nullable=False, index=True),
        sa.Column("at", sa.String, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        sa.Column("subject", sa.String, nullable=False),
        sa.Column("detail", sa.String, nullable=False),
        sa.Column("sha256", sa.String, nullable=False),
    )


def _job() -> sa.ForeignKey:
    return sa.ForeignKey("jobs.id", ondelete="CASCADE")


def _create_schedules() -> None:
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
        sa.Column("at", _BIG, primary_key=True),
        sa.Column("job", sa.String, nullable=False),
    )
    op.create_table(
        "watched",
        sa.Column("folder", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("modified_ns", _BIG, nullable=False),
        sa.Column("job", sa.String, nullable=False),
    )
