"""Stores a notification with events and deliveries in one transaction."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, literal, or_, select, update

from relay.ledger.database import Database, LedgerPart
from relay.ledger.identity import match_known_event
from relay.ledger.ids import new_id
from relay.ledger.revivals import find_listed, revive
from relay.ledger.rows import AnyRow
from relay.ledger.schema import deliveries, events, notifications
from relay.ledger.types import among
from relay.ledger.values import Accepted, NewNotification, RoutedEvent
from relay.model import Event, Kind, NewDelivery, ObjectRef, Origin, State, Trigger, Verdict

ObjectKey = tuple[str, str]
"""A bucket and a key."""

_MAX_SIZE = 2**63 - 1
"""The largest size that the column holds."""

_HISTORY_DEPTH = 64
"""The newest events of an object that an upload is compared with. Older ones were superseded so
often that they cannot be the current content."""

_CHUNK = 5000
"""Objects per query."""

_NAMES = ("id", "bucket", "key", "version", "etag", "size", "type", "time", "order", "received")
_COMPARED = [events.c[name] for name in _NAMES]
# Built once: building a statement takes as long as running it.
_NEWEST_EVENTS = (
    select(*_COMPARED)
    .where(*(events.c[name] == bindparam(name) for name in ("source", "bucket", "key")))
    .order_by(events.c.received.desc(), events.c.id.desc())
    .limit(_HISTORY_DEPTH)
)
_INSERT_NOTIFICATION = notifications.insert()


class NotificationIntake(LedgerPart):
    """Stores notifications."""

    def accept(
        self, notification: NewNotification, routed_events: Sequence[RoutedEvent], now: datetime
    ) -> Accepted:
        """Store a notification, new events and their deliveries; durable on return.

        An event is known if the id is stored, or if another transport announced the same upload
        (identity.py). A known event gets no deliveries, with an exception: an event that no route
        matched, or that a first scan only marked as seen, is routed when it is announced or
        submitted again. Deliveries that ended as gone are revived if their object was seen again
        (revivals.py). ACCEPTED becomes DUPLICATE if nothing new was stored.
        Raises LedgerUnavailable; nothing is stored then.
        """
        incoming = notification.incoming

        def write(connection: Connection) -> Accepted:
            verdict = notification.verdict
            # Two transports that announce an upload at the same time create a single event. Sorted,
            # so that two notifications of the same objects cannot deadlock.
            keys = sorted({_object_key(routed.event) for routed in routed_events})
            locks = [("object", incoming.source, *key) for key in keys]
            self._database.advisory_locks(connection, locks)
            writer = _NotificationWriter(
                self._database,
                connection,
                new_id(now),
                incoming.source,
                now,
                incoming.origin,
            )
            row = _notification_row(writer.id, notification, len(routed_events))
            connection.execute(_INSERT_NOTIFICATION, row)
            stored = writer.store(routed_events)
            new_events = sum(event.is_new for event in stored)
            has_deliveries = any(event.delivery_ids for event in stored)
            if verdict == Verdict.ACCEPTED and not new_events and not has_deliveries:
                verdict = Verdict.DUPLICATE
                this = notifications.c.id == writer.id
                connection.execute(update(notifications).where(this).values(verdict=verdict))
            return Accepted(writer.id, new_events, _delivery_ids(connection, stored), verdict)

        return self._database.write_grouped(write)

    def known_ids(self, source: str, found: Sequence[Event]) -> list[str | None]:
        """Return the id of the stored event of each found event, or None for a new upload.

        A query serves 5,000 objects of a bucket.
        """
        with self._database.read() as connection:
            rows = _newest_events(connection, source, found)
        return [
            match_known_event(event, event.id_in(source), rows.get(_object_key(event), ()))
            for event in found
        ]

    def listed_again(self, event_ids: Collection[str], now: datetime) -> set[str]:
        """Return the events with deliveries that revive() revives, if a scan lists the object."""
        with self._database.read() as connection:
            return find_listed(connection, event_ids, now)

    def revive(self, event_ids: Iterable[str], now: datetime) -> list[str]:
        """Start a new automatic run of deliveries that ended before a scan listed the object.

        Returns their ids.
        """
        with self._database.write() as connection:
            revived = revive(self._database, connection, dict.fromkeys(event_ids), now)
        return [id_ for ids in revived.values() for id_ in ids]

    def pin_event(self, event_id: str, ref: ObjectRef) -> None:
        """Store version, etag and size of an object where the announcement had none.

        A later scan recognises the upload by them. Stored values never change.
        """
        pins = {events.c[name]: getattr(ref, name) for name in ("version", "etag", "size")}
        pins = {column: value for column, value in pins.items() if value is not None}
        if not pins:
            return
        values = {
            column: func.coalesce(column, literal(value, column.type))
            for column, value in pins.items()
        }
        is_unpinned = or_(*(column.is_(None) for column in pins))
        with self._database.write() as connection:
            connection.execute(
                update(events).where(events.c.id == event_id, is_unpinned).values(values)
            )


@dataclass(frozen=True, slots=True)
class _StoredEvent:
    """A stored event, with the ids of the deliveries that were created or revived for it now."""

    id: str
    is_new: bool
    delivery_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _NotificationWriter:
    """Stores the events and deliveries of a notification, in a transaction.

    Known events that were never routed get deliveries, except from a scan.
    """

    database: Database
    connection: Connection
    id: str
    source: str
    now: datetime
    origin: Origin

    def store(self, routed_events: Sequence[RoutedEvent]) -> list[_StoredEvent]:
        """Store the events; those of an object in sequence, because an event may occur twice."""
        batches = _distinct_batches(routed_events)
        return [stored for batch in batches for stored in self._store_batch(batch)]

    def _store_batch(self, batch: Sequence[RoutedEvent]) -> list[_StoredEvent]:
        ids, new_ids = self._store_events([routed.event for routed in batch])
        known = {
            id_: routed.event for id_, routed in zip(ids, batch, strict=True) if id_ not in new_ids
        }
        routes_known_events = self.origin != Origin.SCAN
        already_routed = self._routed(known) if routes_known_events else set()
        revived = self._revive(known)
        stored, rows = [], []
        for event_id, routed in zip(ids, batch, strict=True):
            is_new = event_id in new_ids
            is_unrouted = routes_known_events and event_id not in already_routed
            event_rows = [
                self._delivery_row(event_id, routed.event, delivery)
                for delivery in routed.deliveries
                if is_new or (is_unrouted and delivery.destination)
            ]
            rows += event_rows
            delivery_ids = (*revived.get(event_id, ()), *(row["id"] for row in event_rows))
            stored.append(_StoredEvent(event_id, is_new, delivery_ids))
        if rows:
            self.database.insert_all(self.connection, deliveries, rows)
            self.database.notify_workers(self.connection)
        return stored

    def _store_events(self, batch: Sequence[Event]) -> tuple[list[str], set[str]]:
        """Return the id of each event, and the ids of the new ones."""
        newest = _newest_events(self.connection, self.source, batch)
        ids, rows = [], []
        for event in batch:
            id_, row = self._identify(event, newest.get(_object_key(event), ()))
            ids.append(id_)
            rows += [row] if row else []
        return ids, self.database.insert_all_new(self.connection, events, rows)

    def _identify(
        self, event: Event, newest: Sequence[AnyRow]
    ) -> tuple[str, Mapping[str, Any] | None]:
        """Return the id of the event, and the row to store if the event is not known."""
        known = match_known_event(event, event.id_in(self.source), newest)
        if known is not None:
            return known, None
        if any(row.id == event.id_in(self.source) for row in newest):
            # The object was restored to earlier content: a new upload with an own identity.
            suffix = event.order or (event.time.isoformat() if event.time else "")
            event = replace(event, identity=f"{event.identity}#{suffix}")
        row = self._event_row(event)
        return row["id"], row

    def _revive(self, known: Mapping[str, Event]) -> Mapping[str, Sequence[str]]:
        """Revive deliveries of known events. Before a submission, the storage was asked."""
        is_announced = self.origin in (Origin.HOOK, Origin.QUEUE)
        seen = {id_: event if is_announced else None for id_, event in known.items()}
        return revive(self.database, self.connection, seen, self.now)

    def _routed(self, event_ids: Iterable[str]) -> set[str]:
        query = select(deliveries.c.event_id).where(deliveries.c.destination != "").distinct()
        return {
            event_id
            for chunk in _chunks(event_ids)
            for event_id in self.connection.execute(
                query.where(deliveries.c.event_id.in_(chunk))
            ).scalars()
        }

    def _event_row(self, event: Event) -> dict[str, Any]:
        ref = asdict(event.object)
        if ref["size"] is not None and not 0 <= ref["size"] <= _MAX_SIZE:
            ref["size"] = None  # an impossible size, which the column cannot hold
        return {
            **ref,
            "id": event.id_in(self.source),
            "notification_id": self.id,
            "source": self.source,
            **{name: getattr(event, name) for name in ("identity", "type", "time", "order")},
            "received": self.now,
        }

    def _delivery_row(self, event_id: str, event: Event, new: NewDelivery) -> dict[str, Any]:
        is_pending = new.state == State.PENDING
        copied = ("state", "reason", "route", "destination", "function", "options")
        return {
            "id": new_id(self.now),
            "kind": Kind.IMPORT,
            "source": self.source,
            **{name: getattr(event.object, name) for name in ("bucket", "key", "version")},
            **{name: getattr(new, name) for name in copied},
            "event_id": event_id,
            "created": self.now,
            "due": self.now if is_pending else None,
            "finished": None if is_pending else self.now,
            "trigger": Trigger.AUTOMATIC,
            "channels": list(new.channels),
        }


def _notification_row(id_: str, new: NewNotification, event_count: int) -> Mapping[str, Any]:
    incoming = new.incoming
    copied = ("source", "origin", "received", "method", "path", "body")
    return {
        "id": id_,
        **{name: getattr(incoming, name) for name in copied},
        "headers": dict(incoming.headers),
        "verdict": new.verdict,
        "reason": new.reason,
        "envelopes": list(new.envelopes),
        "events": event_count,
    }


def _delivery_ids(connection: Connection, stored: Sequence[_StoredEvent]) -> tuple[str, ...]:
    """Return the imports of all events, those created earlier included."""
    if all(event.is_new for event in stored):
        return tuple(sorted(id_ for event in stored for id_ in event.delivery_ids))
    query = (
        select(deliveries.c.id)
        .where(
            deliveries.c.event_id.in_([event.id for event in stored]),
            deliveries.c.kind == Kind.IMPORT,
        )
        .order_by(deliveries.c.id)
    )
    return tuple(connection.execute(query).scalars())


def _object_key(event: Event) -> ObjectKey:
    return event.object.bucket, event.object.key


def _newest_events(
    connection: Connection, source: str, batch: Sequence[Event]
) -> Mapping[ObjectKey, Sequence[AnyRow]]:
    """Return the newest stored events of the object of each event, newest first."""
    if len(batch) == 1:
        bucket, key = object_key = _object_key(batch[0])
        values = {"source": source, "bucket": bucket, "key": key}
        return {object_key: connection.execute(_NEWEST_EVENTS, values).all()}
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    for event in batch:
        keys[event.object.bucket][event.object.key] = None
    newest: dict[ObjectKey, list[AnyRow]] = defaultdict(list)
    for bucket, bucket_keys in keys.items():
        for chunk in _chunks(bucket_keys):
            for row in connection.execute(_newest_of_keys(source, bucket, chunk)):
                newest[row.bucket, row.key].append(row)
    return newest


def _newest_of_keys(source: str, bucket: str, keys: Collection[str]) -> Select[Any]:
    newest_first = (events.c.received.desc(), events.c.id.desc())
    position = func.row_number().over(partition_by=events.c.key, order_by=newest_first)
    in_bucket = events.c.source == source, events.c.bucket == bucket, among(events.c.key, keys)
    ranked = select(*_COMPARED, position.label("place")).where(*in_bucket).subquery()
    return (
        select(ranked)
        .where(ranked.c.place <= _HISTORY_DEPTH)
        .order_by(ranked.c.key, ranked.c.place)
    )


def _distinct_batches(routed_events: Sequence[RoutedEvent]) -> list[list[RoutedEvent]]:
    """Return the first event of each object, then the second of each, and so on."""
    batches: list[list[RoutedEvent]] = []
    counts: Counter[ObjectKey] = Counter()
    for routed in routed_events:
        key = _object_key(routed.event)
        if counts[key] == len(batches):
            batches.append([])
        batches[counts[key]].append(routed)
        counts[key] += 1
    return batches


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
