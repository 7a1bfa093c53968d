"""Creates the first tables. A migration is not updated when schema.py changes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_PENDING = sa.text("state = 'pending'")
_RUNNING = sa.text("state = 'running'")


def upgrade() -> None:
    _notifications()
    _deliveries()
    _scans()
    _indexes()


def _notifications() -> None:
    op.create_table(
        "notifications",
        _text("id", primary_key=True),
        *map(_text, ("source", "road")),
        _moment("received"),
        *map(_text, ("method", "path")),
        sa.Column("headers", sa.JSON(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        _text("verdict"),
        _text("reason", nullable=True),
        sa.Column("envelopes", sa.JSON(), nullable=False),
        sa.Column("events", sa.Integer(), nullable=False),
    )
    op.create_table(
        "events",
        _text("id", primary_key=True),
        _text("notification_id", of="notifications.id"),
        *map(_text, ("source", "bucket", "key")),
        _text("version", nullable=True),
        _text("etag", nullable=True),
        sa.Column("size", sa.BigInteger()),
        *map(_text, ("identity", "type")),
        _moment("time", nullable=True),
        _text("order"),
        _moment("received"),
    )


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        _text("id", primary_key=True),
        *map(_text, ("kind", "state", "source", "route", "bucket", "key")),
        _text("version", nullable=True),
        _text("destination"),
        _text("event_id", of="events.id", nullable=True),
        _text("parent", of="deliveries.id", nullable=True),
        _moment("created"),
        _moment("due", nullable=True),
        _moment("finished", nullable=True),
        _text("reason", nullable=True),
        *map(_number, ("attempts", "tries", "run")),
        _text("trigger"),
        _number("fence"),
        _text("owner", nullable=True),
        _moment("leased_until", nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("channels", sa.JSON(), nullable=False),
        *(sa.Column(name, sa.JSON()) for name in ("message", "result", "error")),
    )
    op.create_table(
        "attempts",
        _text("delivery_id", of="deliveries.id", primary_key=True),
        sa.Column("number", sa.Integer(), primary_key=True, autoincrement=False),
        *map(_text, ("kind", "destination", "trigger")),
        _moment("started"),
        _moment("finished", nullable=True),
        _text("outcome", nullable=True),
        sa.Column("error", sa.JSON()),
        _text("answer", nullable=True),
    )
    op.create_table(
        "gates",
        _text("kind", primary_key=True),
        _text("destination", primary_key=True),
        *(_moment(name, nullable=True) for name in ("until", "next")),
        _number("failures"),
        *(_moment(name, nullable=True) for name in ("down", "probe", "paused")),
    )
    op.create_table(
        "digests",
        _text("target", primary_key=True),
        _text("ours", primary_key=True),
        _text("theirs"),
    )
    op.create_table(
        "totals",
        *(_text(name, primary_key=True) for name in ("what", "first", "second", "third")),
        sa.Column("number", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "idempotency",
        _text("key", primary_key=True),
        _text("delivery_id", of="deliveries.id"),
        _moment("created"),
    )


def _scans() -> None:
    op.create_table(
        "scans",
        _text("source", primary_key=True),
        _moment("started"),
        _moment("finished", nullable=True),
        _moment("ran"),
        _moment("since", nullable=True),
        sa.Column("first", sa.Boolean(), nullable=False),
        *map(_number, ("listed", "found")),
        _text("cursor", nullable=True),
        _number("fence"),
        _text("owner", nullable=True),
        *(_moment(name, nullable=True) for name in ("leased_until", "silent")),
    )


def _indexes() -> None:
    _index("ix_deliveries_due", "deliveries", "kind destination due id", _PENDING)
    _index("ix_deliveries_leased", "deliveries", "key leased_until", _RUNNING)
    _index("ix_deliveries_event", "deliveries", "event_id")
    _index("ix_deliveries_parent", "deliveries", "parent")
    _index("ix_deliveries_key", "deliveries", "key id")
    _index("ix_deliveries_state", "deliveries", "state id kind")
    _index("ix_attempts_counted", "attempts", "kind destination outcome")
    _index("ix_events_object", "events", "source bucket key received")
    _index("ix_events_notification", "events", "notification_id")
    _index("ix_events_received", "events", "source received")
    _index("ix_notifications_verdict", "notifications", "source verdict")
    _index("ix_notifications_received", "notifications", "source road received")


def _text(
    name: str, *, of: str | None = None, nullable: bool = False, primary_key: bool = False
) -> sa.Column[str]:
    bytewise = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    keys = [sa.ForeignKey(of)] if of else []
    return sa.Column(name, bytewise, *keys, nullable=nullable, primary_key=primary_key)


def _moment(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger(), nullable=nullable)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer(), nullable=False)


def _index(name: str, table: str, columns: str, where: Any = None) -> None:
    op.create_index(name, table, columns.split(), sqlite_where=where, postgresql_where=where)
