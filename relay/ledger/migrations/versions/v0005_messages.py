"""Indexes the recent messages of a channel. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_MESSAGE = sa.text("kind = 'message'")


def upgrade() -> None:
    op.create_index(
        "ix_attempts_told",
        "attempts",
        ["destination", "finished"],
        sqlite_where=_MESSAGE,
        postgresql_where=_MESSAGE,
    )
