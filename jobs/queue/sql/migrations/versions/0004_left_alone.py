"""Unattended queue: priorities, waiting, retries, films in progress, options in one column."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_OPTIONS = (
    "labels",
    "key",
    "runtime",
    "batch",
    "limits",
    "max_failure_rate",
    "hash_names",
    "heatmaps",
)


def upgrade() -> None:
    """Add the new columns, fill them from the old ones, and drop those."""
    for column in _new_in_jobs():
        op.add_column("jobs", column)
    big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.add_column("films", sa.Column("modified_ns", big, nullable=False, server_default="0"))
    op.add_column("films", sa.Column("in_hand", sa.Integer, nullable=False, server_default="0"))
    op.add_column("films", sa.Column("deaths", sa.Integer, nullable=False, server_default="0"))
    op.add_column("films", sa.Column("status", sa.String))
    op.add_column("films", sa.Column("sha256", sa.String))
    op.create_table(
        "pins",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.String, nullable=False),
    )
    _fill(op.get_bind())
    for name in _OPTIONS:
        op.drop_column("jobs", name)
    op.create_index("ix_films_sha256", "films", ["sha256"])
    still_open = sa.text("state IN ('queued', 'running') AND identity <> ''")
    op.create_index(
        "jobs_open_identity",
        "jobs",
        ["identity"],
        unique=True,
        sqlite_where=still_open,
        postgresql_where=still_open,
    )


def _new_in_jobs() -> list[sa.Column[Any]]:
    """Return the new columns, each with its default for jobs of an older version."""
    return [
        sa.Column("options", sa.JSON, nullable=False, server_default="{}"),
        sa.Column("priority", sa.Integer, nullable=False, server_default="0"),
        sa.Column("tags", sa.JSON, nullable=False, server_default="[]"),
        sa.Column("identity", sa.String(64), nullable=False, server_default=""),
        sa.Column("schedule", sa.String, nullable=False, server_default=""),
        sa.Column("not_before", sa.Float, nullable=False, server_default="0"),
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("deaths", sa.Integer, nullable=False, server_default="0"),
        sa.Column("lease", sa.Float, nullable=False, server_default="120"),
        sa.Column("listed_at", sa.String, nullable=False, server_default=""),
        sa.Column("films", sa.Integer, nullable=False, server_default="0"),
        sa.Column("committed", sa.Integer, nullable=False, server_default="0"),
    ]


def _fill(connection: sa.Connection) -> None:
    jobs = sa.table(
        "jobs",
        sa.column("id", sa.Integer),
        sa.column("options", sa.JSON),
        sa.column("limits", sa.JSON),
        sa.column("hash_names", sa.Boolean),
        sa.column("heatmaps", sa.Boolean),
        *(sa.column(name) for name in _OPTIONS if name not in {"limits", "hash_names", "heatmaps"}),
        sa.column("name"),
        sa.column("submitted_at"),
        sa.column("listed_at"),
        sa.column("films"),
        sa.column("committed"),
    )
    films = sa.table(
        "films",
        sa.column("job_id"),
        sa.column("row", sa.JSON(none_as_null=True)),
        sa.column("status"),
        sa.column("sha256"),
    )
    columns = ("at", "event", "subject", "detail", "sha256")
    events = sa.table("events", sa.column("job_id"), *map(sa.column, columns))
    row = films.c.row
    connection.execute(
        sa.update(films)
        .where(row.is_not(None))
        .values(status=row["status"].as_string(), sha256=row["sha256"].as_string())
    )
    own = sa.select(sa.func.count()).where(films.c.job_id == jobs.c.id)
    done = own.where(row.is_not(None))
    connection.execute(
        sa.update(jobs).values(films=own.scalar_subquery(), committed=done.scalar_subquery())
    )
    listed = sa.select(sa.func.min(events.c.at)).where(
        events.c.job_id == jobs.c.id, events.c.event == "listed"
    )
    connection.execute(
        sa.update(jobs).values(listed_at=sa.func.coalesce(listed.scalar_subquery(), ""))
    )
    # A job's history began when it was listed; now it begins when it is submitted.
    begun = sa.select(events.c.job_id)
    submitted = sa.select(
        jobs.c.id,
        jobs.c.submitted_at,
        sa.literal("submitted"),
        jobs.c.name,
        sa.literal(""),
        sa.literal(""),
    ).where(jobs.c.id.not_in(begun))
    connection.execute(sa.insert(events).from_select(["job_id", *columns], submitted))
    old = sa.select(jobs.c.id, *(jobs.c[name] for name in _OPTIONS))
    for line in connection.execute(old).mappings().all():
        options = {name: line[name] for name in _OPTIONS}
        connection.execute(sa.update(jobs).where(jobs.c.id == line["id"]).values(options=options))
