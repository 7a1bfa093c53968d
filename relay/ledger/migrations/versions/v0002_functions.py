"""Deliveries of one function in order. A migration is history: it does not follow schema.py."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("deliveries", sa.Column("function", bytewise))
    op.create_table(
        "functions",
        *(sa.Column(name, bytewise, primary_key=True) for name in ("destination", "function")),
        *(
            sa.Column(name, bytewise, nullable=False)
            for name in ("delivery_id", "source", "bucket", "key")
        ),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
    )
    # A claim passes over the functions that are being imported without leaving the index.
    _index("ix_deliveries_due", "kind destination due id function", "state = 'pending'")
    # By kind, so that SQLite reads what runs from here and not from the whole history.
    _index("ix_deliveries_leased", "kind key leased_until", "state = 'running'")


def _index(name: str, columns: str, condition: str) -> None:
    op.drop_index(name, "deliveries")
    where = sa.text(condition)
    op.create_index(name, "deliveries", columns.split(), sqlite_where=where, postgresql_where=where)
