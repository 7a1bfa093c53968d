"""Adds whether a scan revived a delivery. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    # The server's default: processes of the previous version may still write.
    revived: sa.Column[bool] = sa.Column(
        "revived", sa.Boolean(), nullable=False, server_default=sa.false()
    )
    op.add_column("deliveries", revived)
