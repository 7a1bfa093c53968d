"""Stores the newest import by source. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_COLUMNS = "destination, function, source, delivery_id, bucket, key, moment, found"


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.rename_table("functions", "earlier")
    op.create_table(
        "functions",
        *(
            sa.Column(name, bytewise, primary_key=True)
            for name in ("destination", "function", "source")
        ),
        *(sa.Column(name, bytewise, nullable=False) for name in ("delivery_id", "bucket", "key")),
        sa.Column("moment", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
    )
    op.execute(f"INSERT INTO functions ({_COLUMNS}) SELECT {_COLUMNS} FROM earlier")  # noqa: S608
    op.drop_table("earlier")
