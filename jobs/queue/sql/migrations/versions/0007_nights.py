"""Profiles of the last nights of a site; kept longer than the jobs."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table; earlier nights have no profile."""
    op.create_table(
        "nights",
        sa.Column("job", sa.String, primary_key=True),
        sa.Column("site", sa.String, nullable=False),
        sa.Column("model_sha256", sa.String(64), nullable=False),
        sa.Column("submitted_at", sa.String, nullable=False),
        sa.Column("profile", sa.JSON, nullable=False),
    )
    op.create_index("nights_of_site", "nights", ["site", "model_sha256", "submitted_at"])
