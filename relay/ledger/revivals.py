"""Starts new automatic runs of deliveries that had ended before their object was seen again."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection, and_, false, func, or_, select, update

from relay.errors import Gone
from relay.ledger.database import Database
from relay.ledger.retriggers import new_run
from relay.ledger.rows import AnyRow
from relay.ledger.schema import deliveries, events
from relay.model import Event, Kind, State, Trigger

_CHUNK = 1000
"""Events per query."""

_MAX_DOUBLINGS = 14
"""After so many runs, a scan revives a delivery every eleven days."""

# An expression, so that SQLite looks rows up by event, and does not read all of a state.
_state = func.coalesce(deliveries.c.state, "")
_IS_GONE = and_(_state == State.SKIPPED, deliveries.c.reason == Gone.reason)
_GAVE_UP = and_(
    _state == State.FAILED, deliveries.c.gave_up.is_not(None), deliveries.c.revived.is_(false())
)
_ENDED = (
    select(
        *(deliveries.c[name] for name in ("id", "event_id", "state", "finished", "run")),
        *(events.c[name] for name in ("time", "order", "type", "received")),
    )
    .join(events, events.c.id == deliveries.c.event_id)
    .where(deliveries.c.kind == Kind.IMPORT, deliveries.c.destination != "")
    .where(or_(_IS_GONE, _GAVE_UP))
)


def find_listed(connection: Connection, event_ids: Collection[str], now: datetime) -> set[str]:
    """Return the events with a delivery that a scan revives, if it lists the object.

    A storage may list what it cannot read: from the second run on, the time to wait is doubled.
    """
    return {
        row.event_id
        for row in _ended(connection, event_ids)
        if row.state == State.FAILED or row.run == 1 or row.finished + _wait(row.run) <= now
    }


def revive(
    database: Database, connection: Connection, seen: Mapping[str, Event | None], now: datetime
) -> dict[str, list[str]]:
    """Revive the deliveries of events, by id, whose object was seen again.

    The values are the events as announced now; None: the storage itself has listed the object.
    Returns the ids of the revived deliveries by event.
    """
    revived: dict[str, list[str]] = {}
    for row in _ended(connection, seen):
        if _is_seen_again(row, seen[row.event_id]):
            this = deliveries.c.id == row.id
            values = new_run(row.run, now, Trigger.AUTOMATIC)
            values |= {"revived": True} if row.state == State.FAILED else {}
            connection.execute(update(deliveries).where(this).values(**values))
            revived.setdefault(row.event_id, []).append(row.id)
    if revived:
        database.notify_workers(connection)
    return revived


def _ended(connection: Connection, event_ids: Iterable[str]) -> list[AnyRow]:
    return [
        row
        for chunk in _chunks(event_ids)
        for row in connection.execute(
            _ENDED.where(deliveries.c.event_id.in_(chunk)).with_for_update(of=deliveries)
        )
    ]


def _is_seen_again(row: AnyRow, event: Event | None) -> bool:
    """Return whether the object is there, as far as is known.

    A redelivered copy of a notification, or one about the time before, is no sign of it. Where
    Relay gave up, the object was there all the time: a scan revives the delivery, but only once.
    """
    if event is None or row.state == State.FAILED:
        return event is None
    is_copy = (event.time, event.order, event.type) == (row.time, row.order, row.type)
    return not is_copy and event.time is not None and event.time > _end_at_storage(row)


def _end_at_storage(row: AnyRow) -> datetime:
    """Return when the delivery ended, by the clock of the storage.

    That clock may differ from ours: only the time that passed since the notification is ours.
    """
    if row.time is None:
        return row.finished  # type: ignore[no-any-return]
    return row.time + (row.finished - row.received)  # type: ignore[no-any-return]


def _wait(run: int) -> timedelta:
    return timedelta(minutes=2 ** min(run, _MAX_DOUBLINGS))


def _chunks(values: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(values)
    while chunk := list(islice(rest, _CHUNK)):
        yield chunk
