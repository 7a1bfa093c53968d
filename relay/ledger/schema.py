"""The tables of the ledger."""

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
    and_,
    false,
    literal_column,
    select,
)
from sqlalchemy.types import TypeEngine

from relay.intents import ChangeCall, IntentState
from relay.ledger.types import AnyText, EnumText, KeyPrefix, KeyText, UtcTimestamp
from relay.ledger.values import WaitReason
from relay.model import (
    AttemptOutcome,
    Kind,
    Origin,
    State,
    Trigger,
    Verdict,
)


def _json() -> JSON:
    return JSON(none_as_null=True)


def _required(name: str, type_: TypeEngine[Any], **more: Any) -> Column[Any]:
    return Column(name, type_, nullable=False, **more)


metadata = MetaData()

notifications = Table(
    "notifications",
    metadata,
    Column("id", AnyText(), primary_key=True),
    _required("source", AnyText()),
    _required("road", EnumText(Origin), key="origin"),
    _required("received", UtcTimestamp()),
    _required("method", AnyText()),
    _required("path", AnyText()),
    _required("headers", _json()),
    _required("body", LargeBinary()),
    _required("verdict", EnumText(Verdict)),
    Column("reason", AnyText()),
    _required("envelopes", _json()),
    _required("events", Integer()),
)

events = Table(
    "events",
    metadata,
    Column("id", AnyText(), primary_key=True),
    Column("notification_id", AnyText(), ForeignKey("notifications.id"), nullable=False),
    _required("source", AnyText()),
    _required("bucket", AnyText()),
    _required("key", KeyText()),
    Column("version", AnyText()),
    Column("etag", AnyText()),
    Column("size", BigInteger()),
    _required("identity", AnyText()),
    _required("type", AnyText()),
    Column("time", UtcTimestamp()),
    _required("order", AnyText()),
    _required("received", UtcTimestamp()),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", AnyText(), primary_key=True),
    _required("kind", EnumText(Kind)),
    _required("state", EnumText(State)),
    _required("source", AnyText()),
    _required("route", AnyText()),
    _required("bucket", AnyText()),
    _required("key", KeyText()),
    Column("version", AnyText()),
    _required("destination", AnyText()),
    Column("event_id", AnyText(), ForeignKey("events.id")),
    Column("parent", AnyText(), ForeignKey("deliveries.id")),
    _required("created", UtcTimestamp()),
    Column("due", UtcTimestamp()),
    Column("finished", UtcTimestamp()),
    Column("missing_since", UtcTimestamp()),  # the object, at each attempt from then on
    Column("reason", AnyText()),
    _required("attempts", Integer(), default=0),  # over all runs; the number of the last attempt
    _required("tries", Integer(), default=0),  # in this run; limited by delivery.attempts
    # attempts of this run that were asked to wait; part of the backoff
    _required("waits", Integer(), default=0, server_default="0"),
    Column("budget_from", UtcTimestamp()),  # start of delivery.give_up_after; null: created
    Column("gave_up", AnyText()),  # attempts, time; null: a refusal, or not failed
    # by a scan, after Relay gave up; once until a manual run
    _required("revived", Boolean(), default=False, server_default=false()),
    _required("run", Integer(), default=1),
    _required("trigger", EnumText(Trigger), default=Trigger.AUTOMATIC),
    Column("by", AnyText()),  # the requester of a manual run
    _required("fence", Integer(), default=0),
    Column("owner", AnyText()),
    Column("leased_until", UtcTimestamp()),
    Column("function", AnyText()),  # at the destination; null: unknown yet, or not needed
    _required("options", _json()),
    _required("channels", _json()),
    Column("message_type", AnyText()),
    Column("message", _json()),
    Column("wait_reason", EnumText(WaitReason)),  # why a later `due`; null: backoff
    Column("subject", AnyText()),  # what a message reports; null: a digest, or an import
    Column("result", _json()),
    Column("error", _json()),
)

attempts = Table(
    "attempts",
    metadata,
    Column("delivery_id", AnyText(), ForeignKey("deliveries.id"), primary_key=True),
    Column("number", Integer(), primary_key=True, autoincrement=False),
    _required("kind", EnumText(Kind)),  # kind and destination are copied for counting
    _required("destination", AnyText()),
    _required("trigger", EnumText(Trigger)),
    Column("by", AnyText()),
    _required("started", UtcTimestamp()),
    Column("finished", UtcTimestamp()),
    Column("outcome", EnumText(AttemptOutcome)),
    Column("error", _json()),
    Column("answer", AnyText()),
    Column("records_intents", Boolean()),  # null: written by a Relay that recorded none
)

# A call that changes a function, recorded before its last bytes are sent.
intents = Table(
    "intents",
    metadata,
    Column("id", AnyText(), primary_key=True),
    Column("delivery_id", AnyText(), ForeignKey("deliveries.id"), nullable=False),
    _required("attempt", Integer()),
    _required("run", Integer()),
    _required("fence", Integer()),
    _required("destination", AnyText()),
    _required("call", EnumText(ChangeCall)),
    *(_required(name, AnyText()) for name in ("function", "func_name", "package", "digest")),
    Column("size", BigInteger()),
    _required("name_was_free", Boolean()),
    Column("digest_before", AnyText()),
    Column("is_exact", Boolean()),
    _required("recorded", UtcTimestamp()),
    _required("settled_at", UtcTimestamp()),  # the call cannot take effect later
    _required("state", EnumText(IntentState)),
    Column("closed", UtcTimestamp()),
    # Of an intent whose delivery has failed: when the target is asked, or, if the intent is closed,
    # since when the outcome has to be corrected.
    Column("next_question", UtcTimestamp()),
)

gates = Table(
    "gates",
    metadata,
    Column("kind", EnumText(Kind), primary_key=True),
    Column("destination", AnyText(), primary_key=True),
    Column("until", UtcTimestamp()),  # the end of the requested wait
    Column("next", UtcTimestamp()),  # when the next delivery is due at an even rate
    _required("failures", Integer()),  # in a row
    Column("down", UtcTimestamp()),  # since when
    Column("probe", UtcTimestamp()),  # the next attempt while it is down
    Column("paused", UtcTimestamp()),  # since when
)

functions = Table(  # the last upload that was imported to each function
    "functions",
    metadata,
    *(Column(name, AnyText(), primary_key=True) for name in ("destination", "function")),
    _required("delivery_id", AnyText()),
    *(_required(name, AnyText()) for name in ("source", "bucket", "key")),
    _required("moment", UtcTimestamp()),  # of the upload
    _required("found", Boolean()),
    # The newest upload of each source. An older Relay does not write it, but all other columns.
    Column("sources", _json()),
)

# Tables of relay.toml that deliveries need and that were reported as missing.
unconfigured = Table(
    "unconfigured",
    metadata,
    Column("path", AnyText(), primary_key=True),
    _required("since", UtcTimestamp()),
)

# Triggers (migration 0003) count in the transaction that writes. `deliveries` counts the rows by
# kind and final state; `notifications`, `events` and `attempts` count all that were ever stored. On
# PostgreSQL each total has several shards, so that transactions do not wait for the same row.
totals = Table(
    "totals",
    metadata,
    Column("what", AnyText(), primary_key=True),
    *(Column(name, AnyText(), primary_key=True) for name in ("first", "second", "third")),
    Column("shard", Integer(), primary_key=True, autoincrement=False),
    _required("number", BigInteger()),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("key", AnyText(), primary_key=True),
    Column("delivery_id", AnyText(), ForeignKey("deliveries.id"), nullable=False),
    _required("created", UtcTimestamp()),
)

digests = Table(
    "digests",
    metadata,
    Column("target", AnyText(), primary_key=True),
    Column("ours", AnyText(), primary_key=True),
    _required("theirs", AnyText()),
    Column("unused", UtcTimestamp()),  # not used since then; null: used recently
)

scans = Table(
    "scans",
    metadata,
    Column("source", AnyText(), primary_key=True),
    _required("started", UtcTimestamp()),  # of the current or last scan
    Column("finished", UtcTimestamp()),  # the last end of a complete scan
    _required("ran", UtcTimestamp()),  # the last step
    Column("since", UtcTimestamp()),
    _required("first", Boolean()),
    _required("listed", Integer()),
    _required("found", Integer()),
    Column("cursor", AnyText()),  # where to resume; null: not running
    _required("fence", Integer()),
    Column("owner", AnyText()),
    Column("leased_until", UtcTimestamp()),
    Column("silent", UtcTimestamp()),  # the oldest object without a notification
    Column("buckets", _json()),  # of the scan; true: an earlier scan has listed all of the bucket
)

# Literals, not bound parameters: the planner uses a partial index only if the query contains the
# same literal condition.
PENDING = deliveries.c.state == literal_column("'pending'")
RUNNING = deliveries.c.state == literal_column("'running'")
OPEN_INTENT = intents.c.state == literal_column("'open'")
TO_CORRECT = and_(intents.c.closed.is_not(None), intents.c.next_question.is_not(None))
REPEATED_INTENT = intents.c.state == literal_column("'repeated'")
MESSAGE_ATTEMPT = attempts.c.kind == literal_column("'message'")

# All kinds, because the indexes begin with the kind. Without it, SQLite would read the whole
# history, because it assumes that all states are equally frequent.
_ANY = deliveries.c.kind.in_([literal_column(f"'{kind}'") for kind in Kind])
WAITING = select(deliveries).where(PENDING, _ANY)
UNDER_WAY = select(deliveries).where(RUNNING, _ANY)


def _index(name: str, *columns: ColumnElement[Any], where: Any = None) -> None:
    Index(name, *columns, sqlite_where=where, postgresql_where=where)


_d, _e, _n, _i = deliveries.c, events.c, notifications.c, intents.c
_index("ix_deliveries_due", _d.kind, _d.destination, _d.due, _d.id, _d.function, where=PENDING)
_index("ix_deliveries_leased", _d.kind, KeyPrefix(_d.key), _d.leased_until, where=RUNNING)
_index("ix_deliveries_event", _d.event_id)
_index("ix_deliveries_parent", _d.parent)
_index("ix_deliveries_key", KeyPrefix(_d.key), _d.id)
_index("ix_deliveries_state", _d.state, _d.id, _d.kind)
_index("ix_intents_delivery", _i.delivery_id)
_index("ix_intents_open", _i.destination, _i.function, _i.settled_at, where=OPEN_INTENT)
_index("ix_intents_to_correct", _i.next_question, where=TO_CORRECT)
_index("ix_intents_repeated", _i.destination, _i.function, _i.settled_at, where=REPEATED_INTENT)
_index("ix_deliveries_subject", _d.subject, _d.id, where=_d.subject.is_not(None))
_index("ix_attempts_counted", attempts.c.kind, attempts.c.destination, attempts.c.outcome)
_index("ix_attempts_told", attempts.c.destination, attempts.c.finished, where=MESSAGE_ATTEMPT)
_index("ix_events_object", _e.source, _e.bucket, KeyPrefix(_e.key), _e.received)
_index("ix_events_notification", _e.notification_id)
_index("ix_events_received", _e.source, _e.received)
_index("ix_notifications_verdict", _n.source, _n.verdict)
_index("ix_notifications_received", _n.source, _n.origin, _n.received)
