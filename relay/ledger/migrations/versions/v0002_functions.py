"""Orders the imports of a function. A migration is not updated when schema.py changes."""

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
    # With this index, a claim skips functions that are being imported without reading the table.
    _index("ix_deliveries_due", "kind destination due id function", "state = 'pending'")
    # By kind, so that SQLite reads running deliveries from this index, not from the whole history.
    _index("ix_deliveries_leased", "kind key leased_until", "state = 'running'")


def _index(name: str, columns: str, condition: str) -> None:
    op.drop_index(name, "deliveries")
    where = sa.text(condition)
    op.create_index(name, "deliveries", columns.split(), sqlite_where=where, postgresql_where=where)
