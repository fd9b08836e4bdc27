"""What time it is, as every record here writes it."""

from datetime import UTC, datetime


def now() -> str:
    """The current time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
