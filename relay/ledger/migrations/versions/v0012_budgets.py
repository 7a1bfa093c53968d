"""Adds the budget of a run. A migration is not updated when schema.py changes."""

from __future__ import annotations

import time

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    # The server's default: processes of the previous version may still write.
    waits = sa.Column("waits", sa.Integer(), nullable=False, server_default="0")
    for column in (
        waits,
        sa.Column("budget_from", sa.BigInteger()),
        sa.Column("gave_up", bytewise),
    ):
        op.add_column("deliveries", column)
    # Deliveries that were pending for longer than the new limit are tried as long as new ones.
    now = time.time_ns() // 1000
    op.execute(
        f"UPDATE deliveries SET budget_from = {now} WHERE state IN ('pending', 'running')"  # noqa: S608
    )
