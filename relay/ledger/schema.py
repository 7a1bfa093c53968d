"""The ledger's tables: what is kept of notifications, events, deliveries and their attempts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    literal_column,
    select,
)
from sqlalchemy.types import TypeEngine

from relay.ledger.key_index import KeyPrefix, KeyText
from relay.ledger.types import AnyText, EnumText, UtcTimestamp
from relay.model import AttemptOutcome, Kind, Origin, State, Trigger, Verdict


def _json() -> JSON:
    return JSON(none_as_null=True)


def _kept(name: str, type_: TypeEngine[Any], **more: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **more)


metadata = MetaData()

notifications = Table(
    "notifications",
    metadata,
    Column("id", AnyText(), primary_key=True),
    _kept("source", AnyText()),
    _kept("road", EnumText(Origin)),
    _kept("received", UtcTimestamp()),
    _kept("method", AnyText()),
    _kept("path", AnyText()),
    _kept("headers", _json()),
    _kept("body", LargeBinary()),
    _kept("verdict", EnumText(Verdict)),
    Column("reason", AnyText()),
    _kept("envelopes", _json()),
    _kept("events", Integer()),
)

events = Table(
    "events",
    metadata,
    Column("id", AnyText(), primary_key=True),
    Column("notification_id", AnyText(), ForeignKey("notifications.id"), nullable=False),
    _kept("source", AnyText()),
    _kept("bucket", AnyText()),
    _kept("key", KeyText()),
    Column("version", AnyText()),
    Column("etag", AnyText()),
    Column("size", BigInteger()),
    _kept("identity", AnyText()),
    _kept("type", AnyText()),
    Column("time", UtcTimestamp()),
    _kept("order", AnyText()),
    _kept("received", UtcTimestamp()),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", AnyText(), primary_key=True),
    _kept("kind", EnumText(Kind)),
    _kept("state", EnumText(State)),
    _kept("source", AnyText()),
    _kept("route", AnyText()),
    _kept("bucket", AnyText()),
    _kept("key", KeyText()),
    Column("version", AnyText()),
    _kept("destination", AnyText()),
    Column("event_id", AnyText(), ForeignKey("events.id")),
    Column("parent", AnyText(), ForeignKey("deliveries.id")),
    _kept("created", UtcTimestamp()),
    Column("due", UtcTimestamp()),
    Column("finished", UtcTimestamp()),
    Column("reason", AnyText()),
    _kept("attempts", Integer(), default=0),  # over all runs: numbers the attempts
    _kept("tries", Integer(), default=0),  # in this run: what the backoff counts
    _kept("run", Integer(), default=1),
    _kept("trigger", EnumText(Trigger), default=Trigger.AUTOMATIC),
    Column("by", AnyText()),  # who asked for this run, where it was by hand
    _kept("fence", Integer(), default=0),
    Column("owner", AnyText()),
    Column("leased_until", UtcTimestamp()),
    Column("function", AnyText()),  # at the destination; none: not known yet, or no matter
    _kept("options", _json()),
    _kept("channels", _json()),
    Column("message_type", AnyText()),
    Column("message", _json()),
    Column("result", _json()),
    Column("error", _json()),
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", AnyText(), ForeignKey("deliveries.id"), primary_key=True),
    Column("number", Integer(), primary_key=True, autoincrement=False),
    _kept("kind", EnumText(Kind)),  # kind and destination are repeated here, to be counted by
    _kept("destination", AnyText()),
    _kept("trigger", EnumText(Trigger)),
    Column("by", AnyText()),
    _kept("started", UtcTimestamp()),
    Column("finished", UtcTimestamp()),
    Column("outcome", EnumText(AttemptOutcome)),
    Column("error", _json()),
    Column("answer", AnyText()),
)

gates = Table(
    "gates",
    metadata,
    Column("kind", EnumText(Kind), primary_key=True),
    Column("destination", AnyText(), primary_key=True),
    Column("until", UtcTimestamp()),  # what the destination asked for
    Column("next", UtcTimestamp()),  # when the next delivery is due if all come evenly
    _kept("failures", Integer()),  # of the destination, in a row
    Column("down", UtcTimestamp()),  # since when it counts as down
    Column("probe", UtcTimestamp()),  # when it is tried again
    Column("paused", UtcTimestamp()),  # since when, by hand
)

functions = Table(  # the newest upload that was brought to a function at its destination
    "functions",
    metadata,
    Column("destination", AnyText(), primary_key=True),
    Column("function", AnyText(), primary_key=True),
    _kept("delivery_id", AnyText()),
    *(_kept(name, AnyText()) for name in ("source", "bucket", "key")),
    _kept("moment", UtcTimestamp()),  # of the upload
    _kept("found", Boolean()),
)

# Counted by triggers (migration 0003) in the transaction in which it happens, whoever writes.
# `deliveries`: how many are there by kind and final state; `notifications`, `events` and
# `attempts`: how many there ever were. On PostgreSQL in shards, so that nobody waits for a row.
totals = Table(
    "totals",
    metadata,
    Column("what", AnyText(), primary_key=True),
    *(Column(name, AnyText(), primary_key=True) for name in ("first", "second", "third")),
    Column("shard", Integer(), primary_key=True, autoincrement=False),
    _kept("number", BigInteger()),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", AnyText(), primary_key=True),
    Column("delivery_id", AnyText(), ForeignKey("deliveries.id"), nullable=False),
    _kept("created", UtcTimestamp()),
)

digests = Table(
    "digests",
    metadata,
    Column("target", AnyText(), primary_key=True),
    Column("ours", AnyText(), primary_key=True),
    _kept("theirs", AnyText()),
    Column("unused", UtcTimestamp()),  # since when nobody asked for it; none: lately somebody did
)

scans = Table(
    "scans",
    metadata,
    Column("source", AnyText(), primary_key=True),
    _kept("started", UtcTimestamp()),  # the scan under way, else the last one
    Column("finished", UtcTimestamp()),  # when one last came to its end
    _kept("ran", UtcTimestamp()),  # when one last made a step
    Column("since", UtcTimestamp()),
    _kept("first", Boolean()),
    _kept("listed", Integer()),
    _kept("found", Integer()),
    Column("cursor", AnyText()),  # where it goes on; none: it is not under way
    _kept("fence", Integer()),
    Column("owner", AnyText()),
    Column("leased_until", UtcTimestamp()),
    Column("silent", UtcTimestamp()),  # the oldest object since the last news that nobody announced
)

# Spelled out, not bound: a partial index serves only a query that says the same at planning time.
PENDING = deliveries.c.state == literal_column("'pending'")
RUNNING = deliveries.c.state == literal_column("'running'")
MESSAGE_ATTEMPT = attempts.c.kind == literal_column("'message'")

# Every kind: by that the indexes begin. Without it SQLite, which takes each state for as frequent
# as any other, would read all of the history.
_ANY = deliveries.c.kind.in_([literal_column(f"'{kind}'") for kind in Kind])
WAITING = select(deliveries).where(PENDING, _ANY)
UNDER_WAY = select(deliveries).where(RUNNING, _ANY)


def _index(name: str, *columns: ColumnElement[Any], where: Any = None) -> None:
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_d, _e, _n = deliveries.c, events.c, notifications.c
_index("ix_deliveries_due", _d.kind, _d.destination, _d.due, _d.id, _d.function, where=PENDING)
_index("ix_deliveries_leased", _d.kind, KeyPrefix(_d.key), _d.leased_until, where=RUNNING)
_index("ix_deliveries_event", _d.event_id)
_index("ix_deliveries_parent", _d.parent)
_index("ix_deliveries_key", KeyPrefix(_d.key), _d.id)
_index("ix_deliveries_state", _d.state, _d.id, _d.kind)
_index("ix_attempts_counted", attempts.c.kind, attempts.c.destination, attempts.c.outcome)
_index("ix_attempts_told", attempts.c.destination, attempts.c.finished, where=MESSAGE_ATTEMPT)
_index("ix_events_object", _e.source, _e.bucket, KeyPrefix(_e.key), _e.received)
_index("ix_events_notification", _e.notification_id)
_index("ix_events_received", _e.source, _e.received)
_index("ix_notifications_verdict", _n.source, _n.verdict)
_index("ix_notifications_received", _n.source, _n.road, _n.received)
