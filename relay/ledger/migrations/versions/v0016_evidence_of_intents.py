"""Stores what the target showed before a call; finds the intents whose outcome was corrected.

A migration is not updated when schema.py changes.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"

_TO_CORRECT = sa.text("closed IS NOT NULL AND next_question IS NOT NULL")


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("intents", sa.Column("digest_before", bytewise))
    op.add_column("intents", sa.Column("is_exact", sa.Boolean()))
    op.execute("UPDATE intents SET next_question = NULL WHERE closed IS NOT NULL")
    op.create_index(
        "ix_intents_to_correct",
        "intents",
        ["next_question"],
        sqlite_where=_TO_CORRECT,
        postgresql_where=_TO_CORRECT,
    )
