"""Claim with which a film was lost: the worker may have been late instead of dead."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Add the column; films that were lost before stay without a claim."""
    lost = sa.Column("lost_fence", sa.Integer, nullable=False, server_default="0")
    op.add_column("films", lost)
