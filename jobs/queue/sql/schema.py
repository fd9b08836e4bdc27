"""Tables of a queue, as created by all of :mod:`jobs.queue.sql.migrations`."""

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

#: The newest migration. Each queue stores the last one applied to it in Alembic's own table.
SCHEMA_VERSION: Final = "0008"

#: SQLite's integers always have 64 bits.
_BIG: Final = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData()

schema_version = Table(
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), primary_key=True),
)

jobs = Table(
    "jobs",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("folder", String, nullable=False),
    Column("model", String, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("report", String, nullable=False),
    Column("options", JSON, nullable=False),
    Column("submitted_at", String, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("identity", String(64), nullable=False),
    Column("schedule", String, nullable=False, index=True),
    Column("state", String, nullable=False, index=True),
    Column("not_before", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("fence", Integer, nullable=False),
    Column("worker", String, nullable=False),
    Column("lease", Float, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("started_at", String, nullable=False),
    Column("listed_at", String, nullable=False),
    Column("finished_at", String, nullable=False),
    Column("exit_code", Integer),
    Column("message", String, nullable=False),
    Column("films", Integer, nullable=False),
    Column("committed", Integer, nullable=False),
    Column("told", Integer, nullable=False),
)

# For finding ended jobs that were not notified yet.
Index("jobs_untold", jobs.c.told, jobs.c.finished_at)

_open_identity = text("state IN ('queued', 'running') AND identity <> ''")

#: Prevents the same work from being queued twice.
Index(
    "jobs_open_identity",
    jobs.c.identity,
    unique=True,
    sqlite_where=_open_identity,
    postgresql_where=_open_identity,
)

# One record per film, created when the job starts; the row is filled in once the film is screened.
# A film in progress without a row was lost with its worker, whose claim is `lost_fence`.
films = Table(
    "films",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("film", String, nullable=False),
    Column("size", _BIG, nullable=False),
    Column("modified_ns", _BIG, nullable=False),
    Column("is_file", Integer, nullable=False),
    Column("in_hand", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),
    Column("status", String),
    Column("sha256", String, index=True),
    Column("row", JSON(none_as_null=True)),
    Column("lost_fence", Integer, nullable=False, server_default="0"),
    UniqueConstraint("job_id", "film"),
)

events = Table(
    "events",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("at", String, nullable=False),
    Column("event", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", String, nullable=False),
    Column("sha256", String, nullable=False),
)

# Values that all workers of a queue must agree on.
pins = Table(
    "pins",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", String, nullable=False),
)

schedules = Table(
    "schedules",
    metadata,
    Column("name", String, primary_key=True),
    Column("cron", String, nullable=False),
    Column("tz", String, nullable=False),
    Column("folder", String, nullable=False),
    Column("report", String, nullable=False),
    Column("reports", String, nullable=False),
    Column("model", String, nullable=False),
    Column("options", JSON, nullable=False),
    Column("added_at", String, nullable=False),
    Column("last", Float, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("tags", JSON, nullable=False),
    Column("catch_up", Integer, nullable=False),
)

# Each firing of a schedule is handled once, on any number of machines.
firings = Table(
    "firings",
    metadata,
    Column("schedule", ForeignKey("schedules.name", ondelete="CASCADE"), primary_key=True),
    Column("at", _BIG, primary_key=True),
    Column("job", String, nullable=False),
)

# Sub-folders that have become jobs; kept longer than the jobs.
watched = Table(
    "watched",
    metadata,
    Column("folder", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("modified_ns", _BIG, nullable=False),
    Column("job", String, nullable=False),
)

# Profiles of the last nights of a site; kept longer than the jobs.
nights = Table(
    "nights",
    metadata,
    Column("job", String, primary_key=True),
    Column("site", String, nullable=False),
    Column("model_sha256", String(64), nullable=False),
    Column("submitted_at", String, nullable=False),
    Column("profile", JSON, nullable=False),
)

Index("nights_of_site", nights.c.site, nights.c.model_sha256, nights.c.submitted_at)
