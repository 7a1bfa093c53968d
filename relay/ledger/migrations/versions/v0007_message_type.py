"""Stores the type of a message in a column. A migration is not updated when schema.py changes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"

# PostgreSQL cannot parse JSON that contains NUL or a lone surrogate, so the type is cut from the
# text: every earlier Relay wrote {"type": "...", ...}.
_TYPES = {
    "sqlite": "json_extract(message, '$.type')",
    "postgresql": "split_part(message::text, '\"', 4)",
}


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("deliveries", sa.Column("message_type", bytewise))
    found = _TYPES[op.get_bind().dialect.name]
    op.execute(f"UPDATE deliveries SET message_type = {found} WHERE kind = 'message'")  # noqa: S608
