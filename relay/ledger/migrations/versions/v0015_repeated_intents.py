"""Finds the repeated calls of a function that may still take effect.

A migration is not updated when schema.py changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_REPEATED = sa.text("state = 'repeated'")


def upgrade() -> None:
    columns = ["destination", "function", "settled_at"]
    op.create_index(
        "ix_intents_repeated",
        "intents",
        columns,
        sqlite_where=_REPEATED,
        postgresql_where=_REPEATED,
    )
