"""Indexes long keys; marks unused digests. A migration is not updated when schema.py changes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    op.add_column("digests", sa.Column("unused", sa.BigInteger()))
    if op.get_bind().dialect.name == "postgresql":
        _shorten("ix_events_object", "events", "source bucket KEY received")
        _shorten("ix_deliveries_key", "deliveries", "KEY id")
        _shorten("ix_deliveries_leased", "deliveries", "kind KEY leased_until", _RUNNING)


def _shorten(name: str, table: str, columns: str, where: Any = None) -> None:
    """Index a prefix of the key: index entries of PostgreSQL hold at most 2,704 bytes."""
    head = sa.text("left(key, 300)")
    op.drop_index(name, table)
    those = [head if one == "KEY" else one for one in columns.split()]
    op.create_index(name, table, those, postgresql_where=where)
