"""Adds the buckets of a scan. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("scans", sa.Column("buckets", sa.JSON()))
