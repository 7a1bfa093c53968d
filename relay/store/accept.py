"""The doors of the ledger: a notification, its events and their deliveries, in one transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Select, bindparam, exists, func, literal, or_, select, update

from relay.ids import new_id
from relay.model import Event, Kind, NewDelivery, ObjectRef, Road, State, Trigger, Verdict
from relay.store.engine import Part
from relay.store.rows import AnyRow
from relay.store.same import known_as
from relay.store.schema import deliveries, events, notifications
from relay.store.values import Accepted, Arrival, NewNotification

_LARGEST = 2**63 - 1
_DEEP = 64
"""How many events of an object are looked at to tell whether one is known: the newest. What is
older was superseded so often that it cannot be what the storage holds now."""

_NAMES = ("id", "bucket", "key", "version", "etag", "size", "type", "time", "order", "received")
_TOLD = [events.c[name] for name in _NAMES]
# The statements of every accept are built once: building takes as long as running.
_NEWEST = (
    select(*_TOLD)
    .where(*(events.c[name] == bindparam(name) for name in ("source", "bucket", "key")))
    .order_by(events.c.received.desc(), events.c.id.desc())
    .limit(_DEEP)
)
_INSERT_NOTIFICATION = notifications.insert()
_INSERT_DELIVERY = deliveries.insert()


@dataclass(frozen=True, slots=True)
class _Visit:
    """The notification under whose name things are stored."""

    connection: Connection
    id: str
    source: str
    now: datetime


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of an arrival; `made`: the ids of the deliveries that were."""

    event_id: str
    is_new: bool
    made: tuple[str, ...]


class Doors(Part):
    """What comes in."""

    def accept(
        self, notification: NewNotification, arrivals: Sequence[Arrival], now: datetime
    ) -> Accepted:
        """Stores a notification, and its new events with their deliveries; durable on return.

        An event is known when its id is, or when the same upload came by another road (same.py):
        then nothing is made of it, except that an event which no route took, or which a first
        scan only marked as seen, is routed when it is announced or submitted (again).
        ACCEPTED without anything new is recorded as DUPLICATE.
        Raises StoreUnavailable, and then nothing was stored.
        """
        incoming = notification.incoming

        def write(connection: Connection) -> Accepted:
            verdict = notification.verdict
            self._enter(connection, incoming.source, arrivals)
            visit = _Visit(connection, new_id(now), incoming.source, now)
            row = _notification(visit.id, notification, len(arrivals))
            connection.execute(_INSERT_NOTIFICATION, row)
            late = incoming.road != Road.SCAN
            # One after the other: the same event may come twice in one notification.
            took = [self._take(visit, arrival, late=late) for arrival in arrivals]
            fresh = sum(one.is_new for one in took)
            if verdict == Verdict.ACCEPTED and not fresh and not any(one.made for one in took):
                verdict = _mark_duplicate(visit)
            ids = _deliveries_of(connection, took)
            return Accepted(visit.id, fresh, ids, verdict)

        return self._database.together(write)

    def known(self, source: str, found: Sequence[Event]) -> list[str | None]:
        """For each event that a scan or a person came upon, the id under which it is known.

        One query for each bucket, whatever their number; None: nobody told of it.
        """
        told: dict[tuple[str, str], list[AnyRow]] = {}
        with self._database.read() as connection:
            for bucket, those in groupby(found, key=lambda event: event.object.bucket):
                keys = {event.object.key for event in those}
                for row in connection.execute(_newest_of(source, bucket, keys)):
                    told.setdefault((row.bucket, row.key), []).append(row)
        return [
            known_as(one, one.id_in(source), told.get((one.object.bucket, one.object.key), ()))
            for one in found
        ]

    def pin_event(self, event_id: str, ref: ObjectRef) -> None:
        """Keeps version, etag and size that the storage told of an event's object, as far as its
        announcement did not: so a scan knows it again. What is known is never changed."""
        said = {events.c[name]: getattr(ref, name) for name in ("version", "etag", "size")}
        learned = {column: value for column, value in said.items() if value is not None}
        if not learned:
            return
        kept = {
            column: func.coalesce(column, literal(value, column.type))
            for column, value in learned.items()
        }
        is_open = or_(*(column.is_(None) for column in learned))
        with self._database.write() as connection:
            connection.execute(update(events).where(events.c.id == event_id, is_open).values(kept))

    def _enter(self, connection: Connection, source: str, arrivals: Sequence[Arrival]) -> None:
        # Sorted, so that two notifications of the same objects never wait for each other.
        for bucket, key in sorted({(a.event.object.bucket, a.event.object.key) for a in arrivals}):
            self._database.alone(connection, "object", source, bucket, key)

    def _take(self, visit: _Visit, arrival: Arrival, *, late: bool) -> _Taken:
        event_id, is_new = self._record(visit, arrival.event)
        wanted = [
            _delivery(visit, event_id, arrival.event, new)
            for new in arrival.deliveries
            if is_new or (late and new.destination)
        ]
        if not is_new and wanted and _routed(visit.connection, event_id):
            wanted = []
        if wanted:
            visit.connection.execute(_INSERT_DELIVERY, wanted[0] if len(wanted) == 1 else wanted)
            self._database.tell(visit.connection)
        return _Taken(event_id, is_new, tuple(one["id"] for one in wanted))

    def _record(self, visit: _Visit, event: Event) -> tuple[str, bool]:
        """The id under which the event is known from now on, and whether it is new."""
        told = _told(visit, event.object)
        known = known_as(event, event.id_in(visit.source), told)
        if known is not None:
            return known, False
        if any(row.id == event.id_in(visit.source) for row in told):
            # The bytes of a known event came back after others: an upload of its own.
            again = event.order or (event.time.isoformat() if event.time else "")
            event = replace(event, identity=f"{event.identity}#{again}")
        row = _event(visit, event)
        return row["id"], self._database.insert_new(visit.connection, events, row)


def _told(visit: _Visit, ref: ObjectRef) -> Sequence[AnyRow]:
    """The newest events of an object, the newest first."""
    ours = {"source": visit.source, "bucket": ref.bucket, "key": ref.key}
    return visit.connection.execute(_NEWEST, ours).all()


def _newest_of(source: str, bucket: str, keys: Collection[str]) -> Select[Any]:
    """The same for many objects of one bucket at once."""
    newest = (events.c.received.desc(), events.c.id.desc())
    place = func.row_number().over(partition_by=events.c.key, order_by=newest)
    ranked = (
        select(*_TOLD, place.label("place"))
        .where(events.c.source == source, events.c.bucket == bucket, events.c.key.in_(keys))
        .subquery()
    )
    return select(ranked).where(ranked.c.place <= _DEEP).order_by(ranked.c.key, ranked.c.place)


def _routed(connection: Connection, event_id: str) -> bool:
    there = exists().where(deliveries.c.event_id == event_id, deliveries.c.destination != "")
    return bool(connection.execute(select(there)).scalar())


def _deliveries_of(connection: Connection, took: Sequence[_Taken]) -> tuple[str, ...]:
    if all(one.is_new for one in took):
        return tuple(sorted(made for one in took for made in one.made))
    those = deliveries.c.event_id.in_([one.event_id for one in took])
    query = (
        select(deliveries.c.id)
        .where(those, deliveries.c.kind == Kind.IMPORT)
        .order_by(deliveries.c.id)
    )
    return tuple(connection.execute(query).scalars())


def _mark_duplicate(visit: _Visit) -> Verdict:
    ours = notifications.c.id == visit.id
    visit.connection.execute(update(notifications).where(ours).values(verdict=Verdict.DUPLICATE))
    return Verdict.DUPLICATE


def _notification(id_: str, new: NewNotification, count: int) -> Mapping[str, Any]:
    incoming = new.incoming
    return {
        "id": id_,
        "source": incoming.source,
        "road": incoming.road,
        "received": incoming.received,
        "method": incoming.method,
        "path": incoming.path,
        "headers": dict(incoming.headers),
        "body": incoming.body,
        "verdict": new.verdict,
        "reason": new.reason,
        "envelopes": list(new.envelopes),
        "events": count,
    }


def _event(visit: _Visit, event: Event) -> dict[str, Any]:
    ref = asdict(event.object)
    if ref["size"] is not None and not 0 <= ref["size"] <= _LARGEST:
        ref["size"] = None  # no object has it and no column holds it: as if nothing was said
    return {
        **ref,
        "id": event.id_in(visit.source),
        "notification_id": visit.id,
        "source": visit.source,
        "identity": event.identity,
        "type": event.type,
        "time": event.time,
        "order": event.order,
        "received": visit.now,
    }


def _delivery(visit: _Visit, event_id: str, event: Event, new: NewDelivery) -> dict[str, Any]:
    pending = new.state == State.PENDING
    return {
        "id": new_id(visit.now),
        "kind": Kind.IMPORT,
        "state": new.state,
        "reason": new.reason,
        "source": visit.source,
        "route": new.route,
        "bucket": event.object.bucket,
        "key": event.object.key,
        "version": event.object.version,
        "destination": new.destination,
        "event_id": event_id,
        "created": visit.now,
        "due": visit.now if pending else None,
        "finished": None if pending else visit.now,
        "trigger": Trigger.AUTOMATIC,
        "function": new.function,
        "options": new.options,
        "channels": list(new.channels),
    }
