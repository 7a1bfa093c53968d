"""Taking: what a notification tells of is known or new, and what is new gets its deliveries."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Select, bindparam, func, select

from relay.ledger.database import Database
from relay.ledger.identity import match_known_event
from relay.ledger.ids import new_id
from relay.ledger.key_index import among
from relay.ledger.rows import AnyRow
from relay.ledger.schema import deliveries, events
from relay.ledger.values import RoutedEvent
from relay.model import Event, Kind, NewDelivery, State, Trigger

ObjectKey = tuple[str, str]
"""A bucket and a key."""

_LARGEST = 2**63 - 1
_DEEP = 64
"""How many events of an object are looked at to tell whether one is known: the newest. What is
older was superseded so often that it cannot be what the storage holds now."""
_AT_ONCE = 5000
"""Objects that one query asks for."""

_NAMES = ("id", "bucket", "key", "version", "etag", "size", "type", "time", "order", "received")
_TOLD = [events.c[name] for name in _NAMES]
# The statements of every accept are built once: building takes as long as running.
_NEWEST = (
    select(*_TOLD)
    .where(*(events.c[name] == bindparam(name) for name in ("source", "bucket", "key")))
    .order_by(events.c.received.desc(), events.c.id.desc())
    .limit(_DEEP)
)


@dataclass(frozen=True, slots=True)
class NotificationWriter:
    """The notification under whose name things are stored. `late`: what is known already, but was
    never routed, is routed by it."""

    database: Database
    connection: Connection
    id: str
    source: str
    now: datetime
    late: bool

    def take(self, arrivals: Sequence[RoutedEvent]) -> list[StoredEvent]:
        """What became of the arrivals. Of one object one after the other, for the same event may
        come twice in one notification; of different objects together."""
        return [one for turn in _turns(arrivals) for one in self._take(turn)]

    def _take(self, arrivals: Sequence[RoutedEvent]) -> list[StoredEvent]:
        ids, new = self._record([arrival.event for arrival in arrivals])
        routed = self._routed([id_ for id_ in ids if id_ not in new]) if self.late else set()
        took, rows = [], []
        for event_id, arrival in zip(ids, arrivals, strict=True):
            is_new = event_id in new
            wanted = [
                _delivery(self, event_id, arrival.event, one)
                for one in arrival.deliveries
                if is_new or (self.late and one.destination and event_id not in routed)
            ]
            rows += wanted
            took.append(StoredEvent(event_id, is_new, tuple(one["id"] for one in wanted)))
        if rows:
            self.database.insert_all(self.connection, deliveries, rows)
            self.database.notify_workers(self.connection)
        return took

    def _record(self, those: Sequence[Event]) -> tuple[list[str], set[str]]:
        """The ids under which the events are known from now on, and which of them are new."""
        told = told_of(self.connection, self.source, those)
        ids, rows = [], []
        for event in those:
            known, row = self._told_before(event, told.get(place_of(event), ()))
            ids.append(known)
            rows += [row] if row else []
        return ids, self.database.insert_all_new(self.connection, events, rows)

    def _told_before(
        self, event: Event, told: Sequence[AnyRow]
    ) -> tuple[str, Mapping[str, Any] | None]:
        """The event's id, and the row to be stored unless it is known."""
        known = match_known_event(event, event.id_in(self.source), told)
        if known is not None:
            return known, None
        if any(row.id == event.id_in(self.source) for row in told):
            # The bytes of a known event came back after others: an upload of its own.
            again = event.order or (event.time.isoformat() if event.time else "")
            event = replace(event, identity=f"{event.identity}#{again}")
        row = _event(self, event)
        return row["id"], row

    def _routed(self, event_ids: Sequence[str]) -> set[str]:
        query = select(deliveries.c.event_id).where(deliveries.c.destination != "").distinct()
        return {
            event_id
            for some in _parts(event_ids)
            for event_id in self.connection.execute(
                query.where(deliveries.c.event_id.in_(some))
            ).scalars()
        }


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """What became of an arrival; `made`: the ids of the deliveries that were."""

    event_id: str
    is_new: bool
    made: tuple[str, ...]


def place_of(event: Event) -> ObjectKey:
    return event.object.bucket, event.object.key


def told_of(
    connection: Connection, source: str, those: Sequence[Event]
) -> Mapping[ObjectKey, Sequence[AnyRow]]:
    """The newest events of each one's object, the newest first; one query for 5,000 of a bucket."""
    if len(those) == 1:
        bucket, key = place = place_of(those[0])
        ours = {"source": source, "bucket": bucket, "key": key}
        return {place: connection.execute(_NEWEST, ours).all()}
    keys: dict[str, dict[str, None]] = defaultdict(dict)
    for event in those:
        keys[event.object.bucket][event.object.key] = None
    told: dict[ObjectKey, list[AnyRow]] = defaultdict(list)
    for bucket, its in keys.items():
        for some in _parts(its):
            for row in connection.execute(_newest_of(source, bucket, some)):
                told[row.bucket, row.key].append(row)
    return told


def _newest_of(source: str, bucket: str, keys: Collection[str]) -> Select[Any]:
    newest = (events.c.received.desc(), events.c.id.desc())
    place = func.row_number().over(partition_by=events.c.key, order_by=newest)
    here = events.c.source == source, events.c.bucket == bucket, among(events.c.key, keys)
    ranked = select(*_TOLD, place.label("place")).where(*here).subquery()
    return select(ranked).where(ranked.c.place <= _DEEP).order_by(ranked.c.key, ranked.c.place)


def _turns(arrivals: Sequence[RoutedEvent]) -> list[list[RoutedEvent]]:
    """First the first arrival of each object, then the second, and so on."""
    turns: list[list[RoutedEvent]] = []
    came: Counter[ObjectKey] = Counter()
    for arrival in arrivals:
        place = place_of(arrival.event)
        if came[place] == len(turns):
            turns.append([])
        turns[came[place]].append(arrival)
        came[place] += 1
    return turns


def _parts(these: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(these)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def _event(visit: NotificationWriter, event: Event) -> dict[str, Any]:
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


def _delivery(
    visit: NotificationWriter, event_id: str, event: Event, new: NewDelivery
) -> dict[str, Any]:
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
