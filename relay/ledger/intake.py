"""The doors of the ledger: a notification, its events and their deliveries, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, literal, or_, select, update

from relay.ledger.database import LedgerPart
from relay.ledger.event_writer import NotificationWriter, StoredEvent, place_of, told_of
from relay.ledger.identity import match_known_event
from relay.ledger.ids import new_id
from relay.ledger.schema import deliveries, events, notifications
from relay.ledger.values import Accepted, NewNotification, RoutedEvent
from relay.model import Event, Kind, ObjectRef, Origin, Verdict

_INSERT_NOTIFICATION = notifications.insert()


class Intake(LedgerPart):
    """What comes in."""

    def accept(
        self, notification: NewNotification, arrivals: Sequence[RoutedEvent], now: datetime
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
            late = incoming.road != Origin.SCAN
            visit = NotificationWriter(
                self._database, connection, new_id(now), incoming.source, now, late
            )
            row = _notification(visit.id, notification, len(arrivals))
            connection.execute(_INSERT_NOTIFICATION, row)
            took = visit.take(arrivals)
            new_events = sum(one.is_new for one in took)
            if verdict == Verdict.ACCEPTED and not new_events and not any(one.made for one in took):
                verdict = _mark_duplicate(visit)
            ids = _deliveries_of(connection, took)
            return Accepted(visit.id, new_events, ids, verdict)

        return self._database.write_grouped(write)

    def known_ids(self, source: str, found: Sequence[Event]) -> list[str | None]:
        """For each event that a scan or a person came upon, the id under which it is known.

        One query for 5,000 of a bucket; None: nobody told of it.
        """
        with self._database.read() as connection:
            told = told_of(connection, source, found)
        return [
            match_known_event(one, one.id_in(source), told.get(place_of(one), ())) for one in found
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

    def _enter(self, connection: Connection, source: str, arrivals: Sequence[RoutedEvent]) -> None:
        places = {place_of(arrival.event) for arrival in arrivals}
        # Sorted, so that two notifications of the same objects never wait for each other.
        things = [("object", source, *place) for place in sorted(places)]
        self._database.advisory_locks(connection, things)


def _deliveries_of(connection: Connection, took: Sequence[StoredEvent]) -> tuple[str, ...]:
    if all(one.is_new for one in took):
        return tuple(sorted(made for one in took for made in one.made))
    those = deliveries.c.event_id.in_([one.event_id for one in took])
    query = (
        select(deliveries.c.id)
        .where(those, deliveries.c.kind == Kind.IMPORT)
        .order_by(deliveries.c.id)
    )
    return tuple(connection.execute(query).scalars())


def _mark_duplicate(visit: NotificationWriter) -> Verdict:
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
