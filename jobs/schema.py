"""The tables of a queue in SQL, and their version."""

from typing import Final

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

#: Written into every queue from the first release on. The table and its column are those that
#: Alembic uses, so that migrations can begin here.
SCHEMA_VERSION: Final = "0003"

metadata = MetaData()

schema_version = Table(
    "alembic_version", metadata, Column("version_num", String(32), primary_key=True)
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
    Column("labels", String),
    Column("key", String, nullable=False),
    Column("runtime", String, nullable=False),
    Column("batch", Integer, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("max_failure_rate", Float, nullable=False),
    Column("hash_names", Boolean, nullable=False),
    Column("heatmaps", Boolean, nullable=False),
    Column("submitted_at", String, nullable=False),
    Column("state", String, nullable=False, index=True),
    Column("fence", Integer, nullable=False),
    Column("worker", String, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("started_at", String, nullable=False),
    Column("finished_at", String, nullable=False),
    Column("exit_code", Integer),
    Column("message", String, nullable=False),
)

# One line for each film, made when the job starts; its row is filled in once, when it is screened.
films = Table(
    "films",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("film", String, nullable=False),
    Column("size", Integer, nullable=False),
    Column("is_file", Integer, nullable=False),
    Column("row", JSON(none_as_null=True)),
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
