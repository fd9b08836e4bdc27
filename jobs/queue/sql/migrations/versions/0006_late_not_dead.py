"""With which claim a film was lost: its worker may have been late, and not dead."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Of films that were lost before, nobody says so any more."""
    lost = sa.Column("lost_fence", sa.Integer, nullable=False, server_default="0")
    op.add_column("films", lost)
