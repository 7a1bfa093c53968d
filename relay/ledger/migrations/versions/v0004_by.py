"""Adds the requester of a manual run. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    for table in ("deliveries", "attempts"):
        op.add_column(table, sa.Column("by", bytewise))
