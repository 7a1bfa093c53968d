"""Stores the subjects of messages, why deliveries wait, and what the configuration lacked.

A migration is not updated when schema.py changes. Messages about an object get the same hash as new
ones (message_order.py), so that those that wait during the upgrade stay in order. Messages about a
target that were stored before have no subject.
"""

from __future__ import annotations

import hashlib
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"

_HAS_SUBJECT = sa.text("subject IS NOT NULL")
_HASHES = {
    "sqlite": "relay_sha256({text})",
    "postgresql": "encode(sha256(convert_to({text}, 'UTF8')), 'hex')",
}


def upgrade() -> None:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("deliveries", sa.Column("subject", bytewise))
    bind = op.get_bind()
    is_sqlite = bind.dialect.name == "sqlite"
    if is_sqlite:
        driver: Any = bind.connection.driver_connection
        driver.create_function("relay_sha256", 1, _sha256)
    separator = "char(31)" if is_sqlite else "chr(31)"
    text = f" || {separator} || ".join(("source", "route", "bucket", "key"))
    subject = _HASHES[bind.dialect.name].format(text=text)
    op.execute(
        f"UPDATE deliveries SET subject = {subject} "  # noqa: S608 - constants
        "WHERE kind = 'message' AND parent IS NOT NULL"
    )
    op.create_index(
        "ix_deliveries_subject",
        "deliveries",
        ["subject", "id"],
        sqlite_where=_HAS_SUBJECT,
        postgresql_where=_HAS_SUBJECT,
    )

    op.add_column("deliveries", sa.Column("wait_reason", bytewise))
    op.create_table(
        "unconfigured",
        sa.Column("path", bytewise, primary_key=True),
        sa.Column("since", sa.BigInteger(), nullable=False),
    )


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
