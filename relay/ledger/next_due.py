"""Selects the next delivery to claim: the oldest due delivery of an open destination."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    bindparam,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from relay.config.units import RateLimit
from relay.ledger.destinations import Destination, closed_destinations
from relay.ledger.rows import AnyRow
from relay.ledger.schema import PENDING, RUNNING, UNDER_WAY, deliveries
from relay.model import Kind

_other = deliveries.alias("other")
_SAME_OBJECT = exists().where(
    _other.c.state == literal_column("'running'"),
    _other.c.id != deliveries.c.id,
    *(
        _other.c[name] == deliveries.c[name]
        for name in ("kind", "source", "route", "bucket", "key")
    ),
)
_RUNNING_COLUMNS = ("kind", "destination", "leased_until", "function", "subject")
_UNDER_WAY = UNDER_WAY.with_only_columns(*(deliveries.c[name] for name in _RUNNING_COLUMNS))

# Built once: building a statement takes longer than running it.
_d = deliveries.c
_now: BindParameter[datetime] = bindparam("now")
_lease_cutoff: BindParameter[datetime] = bindparam("lease_cutoff")
_CLAIMABLE = (
    # Oldest first, without imports of an object that the same route is importing.
    select(deliveries)
    .where(or_(_d.kind != Kind.IMPORT, ~_SAME_OBJECT.where(_other.c.leased_until > _lease_cutoff)))
    .order_by(_d.due, _d.id)
    .with_for_update(skip_locked=True, of=deliveries)
)
_EXPIRED = _CLAIMABLE.where(RUNNING, _d.leased_until <= _lease_cutoff)
_PENDING_OF_KIND = PENDING, _d.kind == bindparam("kind")
_FIRST = _CLAIMABLE.where(
    *_PENDING_OF_KIND, _d.destination == bindparam("destination"), _d.due <= _now
).limit(1)
_BUSY: BindParameter[str] = bindparam("busy", expanding=True)
_FIRST_OF_OTHERS = {
    Kind.IMPORT: _FIRST.where(or_(_d.function.is_(None), _d.function.not_in(_BUSY))),
    Kind.MESSAGE: _FIRST.where(or_(_d.subject.is_(None), _d.subject.not_in(_BUSY))),
}
# A recursive query finds the destinations by an index lookup each, however many deliveries wait.
_NEXT_NAME = select(func.min(_d.destination)).where(*_PENDING_OF_KIND)
_destination = _NEXT_NAME.cte("lane", recursive=True)
_destination = _destination.union_all(
    select(_NEXT_NAME.where(_d.destination > _destination.c[0]).scalar_subquery()).where(
        _destination.c[0].is_not(None)
    )
)
_DESTINATIONS = select(_destination.c[0]).where(_destination.c[0].is_not(None))
_IS_DUE = exists().where(*_PENDING_OF_KIND, _d.destination == _destination.c[0], _d.due <= _now)
_IS_EXPIRED = exists().where(
    RUNNING, _d.kind == bindparam("kind"), _d.leased_until <= _lease_cutoff
)
IS_ANY_DUE = select(or_(exists(select(_destination.c[0]).where(_IS_DUE)), _IS_EXPIRED))


def next_due(
    connection: Connection,
    limits: Mapping[Destination, int],
    rates: Mapping[Destination, RateLimit],
    *,
    now: datetime,
    lease_cutoff: datetime,
    kind: Kind | None = None,
    only: str | None = None,
) -> AnyRow | None:
    """Return the row of the next delivery to claim, or None.

    A destination without an entry in `limits` or `rates` is unlimited. Looks at each destination
    separately, so that ten thousand deliveries of a closed destination cost as much as a single
    delivery.
    """
    running = connection.execute(_UNDER_WAY).all()
    leased = [row for row in running if row.leased_until > lease_cutoff]
    closed = closed_destinations(connection, leased, limits, rates, now)
    times = {"now": now, "lease_cutoff": lease_cutoff}
    best = None
    if len(leased) < len(running):
        # There are as few expired leases as worker slots.
        rows = connection.execute(_only(_EXPIRED, only), times).all()
        wanted = (row for row in rows if kind in (None, row.kind))
        best = next((row for row in wanted if (row.kind, row.destination) not in closed), None)
    for destination in _candidates(connection, kind, only):
        if destination in closed:
            continue
        busy = _busy(running, destination)
        query = _only(_FIRST_OF_OTHERS[destination[0]] if busy else _FIRST, only)
        params: dict[str, object] = {**times, "kind": destination[0], "destination": destination[1]}
        if busy:
            params["busy"] = busy
        row = connection.execute(query, params).first()
        if row is not None and (best is None or (row.due, row.id) < (best.due, best.id)):
            best = row
    return best


def pending_destinations(
    connection: Connection, kinds: Iterable[Kind] = Kind
) -> Iterator[Destination]:
    """Yield every destination with pending deliveries."""
    for kind in kinds:
        for destination in connection.execute(_DESTINATIONS, {"kind": kind}).scalars().all():
            yield kind, destination


def _candidates(
    connection: Connection, kind: Kind | None, only: str | None
) -> Iterator[Destination]:
    if only is None:
        yield from pending_destinations(connection, [kind] if kind else Kind)
        return
    query = select(deliveries.c.kind, deliveries.c.destination)
    for row in connection.execute(query.where(deliveries.c.id == only)):
        yield row.kind, row.destination


def _busy(running: Sequence[AnyRow], destination: Destination) -> list[str]:
    """Return the functions that are being imported, or the subjects of messages being posted.

    Expired leases count too: the delivery itself is claimed again first.
    """
    of_destination = (row for row in running if (row.kind, row.destination) == destination)
    return [name for row in of_destination if (name := row.function or row.subject)]


def _only(query: Select[tuple[object, ...]], only: str | None) -> Select[tuple[object, ...]]:
    return query if only is None else query.where(deliveries.c.id == only)
