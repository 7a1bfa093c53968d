"""Adds the intents of calls that change a function.

A migration is not updated when schema.py changes. Old attempts have no intent: `records_intents` is
null, and a claim treats them as calls whose effect is not known. An older Relay that still runs
beside writes such attempts too.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"

_OPEN = sa.text("state = 'open'")


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("attempts", sa.Column("records_intents", sa.Boolean()))
    op.create_table(
        "intents",
        sa.Column("id", bytewise, primary_key=True),
        sa.Column("delivery_id", bytewise, sa.ForeignKey("deliveries.id"), nullable=False),
        *(sa.Column(name, sa.Integer(), nullable=False) for name in ("attempt", "run", "fence")),
        *(sa.Column(name, bytewise, nullable=False) for name in ("destination", "call")),
        *(
            sa.Column(name, bytewise, nullable=False)
            for name in ("function", "func_name", "package", "digest")
        ),
        sa.Column("size", sa.BigInteger()),
        sa.Column("name_was_free", sa.Boolean(), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("recorded", "settled_at")),
        sa.Column("state", bytewise, nullable=False),
        *(sa.Column(name, sa.BigInteger()) for name in ("closed", "next_question")),
    )
    op.create_index("ix_intents_delivery", "intents", ["delivery_id"])
    columns = ["destination", "function", "settled_at"]
    op.create_index(
        "ix_intents_open", "intents", columns, sqlite_where=_OPEN, postgresql_where=_OPEN
    )
