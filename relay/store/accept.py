"""The doors of the ledger: a notification, its events and their deliveries, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, false, or_, select, true, update

from relay.model import Event, Kind, NewDelivery, ObjectRef, Road, State, Trigger, Verdict, new_id
from relay.store.engine import Part
from relay.store.schema import FOUND, deliveries, events, notifications
from relay.store.values import Accepted, Arrival, NewNotification

_FOUND = "found"
_CLOCKS = timedelta(seconds=2)
"""How far an announcement's time may lie behind the time that the storage lists for the object."""

_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class _Visit:
    """The notification under whose name things are stored."""

    connection: Connection
    id: str
    source: str
    now: datetime


@dataclass(frozen=True, slots=True)
class _Taken:
    """What became of an arrival; `made`: deliveries were."""

    event_id: str
    is_new: bool
    made: bool


class Doors(Part):
    """What comes in."""

    def accept(
        self, notification: NewNotification, arrivals: Sequence[Arrival], now: datetime
    ) -> Accepted:
        """Stores a notification, and its new events with their deliveries; durable on return.

        An event is known when its id is, or when the same bytes came by the other road (`_known`):
        then nothing is made of it, except that an event which no route took, or which a first
        scan only marked as seen, is routed when it is announced or submitted (again).
        ACCEPTED without anything new is recorded as DUPLICATE.
        Raises StoreUnavailable, and then nothing was stored.
        """
        incoming, verdict = notification.incoming, notification.verdict
        with self._database.write() as connection:
            self._enter(connection, incoming.source, arrivals)
            visit = _Visit(connection, new_id(now), incoming.source, now)
            row = _notification(visit.id, notification, len(arrivals))
            connection.execute(notifications.insert(), row)
            late = incoming.road != Road.SCAN
            # One after the other: the same event may come twice in one notification.
            took = [self._take(visit, arrival, late=late) for arrival in arrivals]
            fresh = sum(one.is_new for one in took)
            if verdict == Verdict.ACCEPTED and not fresh and not any(one.made for one in took):
                verdict = _mark_duplicate(visit)
            ids = _deliveries_of(connection, [one.event_id for one in took])
        return Accepted(visit.id, fresh, ids, verdict)

    def find_event(self, source: str, ref: ObjectRef) -> str | None:
        """The id of the newest event of that object, by version, else by etag; None: unknown."""
        with self._database.read() as connection:
            return _newest(connection, source, ref, true())

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
            visit.connection.execute(deliveries.insert(), wanted)
        return _Taken(event_id, is_new, bool(wanted))

    def _record(self, visit: _Visit, event: Event) -> tuple[str, bool]:
        """The id under which the event is known from now on, and whether it is new."""
        known = _known(visit, event)
        if known is not None:
            return known, False
        row = _event(visit, event)
        return row["id"], self._database.insert_new(visit.connection, events, row)


def _known(visit: _Visit, event: Event) -> str | None:
    """The event that told of the same bytes by the other road.

    A found event adds nothing to any event of these bytes. An announcement adds nothing to a
    found one, unless it is younger: then the same bytes were uploaded again.
    """
    if event.type == _FOUND:
        condition: ColumnElement[bool] = true()
    elif event.time is None:
        condition = FOUND
    else:
        not_younger = events.c.time >= event.time - _CLOCKS
        condition = and_(FOUND, or_(events.c.time.is_(None), not_younger))
    return _newest(visit.connection, visit.source, event.object, condition)


def _newest(
    connection: Connection, source: str, ref: ObjectRef, condition: ColumnElement[bool]
) -> str | None:
    same_etag = events.c.etag == ref.etag if ref.etag else false()
    same_bytes = same_etag
    if ref.version:
        same_version = events.c.version == ref.version
        same_bytes = or_(same_version, and_(events.c.version.is_(None), same_etag))
    query = (
        select(events.c.id)
        .where(events.c.source == source, events.c.bucket == ref.bucket, events.c.key == ref.key)
        .where(same_bytes, condition)
        .order_by(events.c.received.desc(), events.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).scalar()


def _routed(connection: Connection, event_id: str) -> bool:
    there = exists().where(deliveries.c.event_id == event_id, deliveries.c.destination != "")
    return bool(connection.execute(select(there)).scalar())


def _deliveries_of(connection: Connection, event_ids: Sequence[str]) -> tuple[str, ...]:
    if not event_ids:
        return ()
    query = (
        select(deliveries.c.id)
        .where(deliveries.c.event_id.in_(event_ids), deliveries.c.kind == Kind.IMPORT)
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
        "options": new.options,
        "channels": list(new.channels),
    }
