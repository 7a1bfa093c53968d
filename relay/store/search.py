"""Which delivery is next: the one that is due longest, whose way is free."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    Connection,
    Select,
    exists,
    func,
    literal_column,
    or_,
    select,
)

from relay.model import Kind
from relay.store.rows import AnyRow
from relay.store.schema import PENDING, RUNNING, deliveries, holds

Lane = tuple[Kind, str]
"""A kind and a destination: what limits and holds apply to."""

_other = deliveries.alias("other")
_SAME_OBJECT = exists().where(
    _other.c.state == literal_column("'running'"),
    _other.c.id != deliveries.c.id,
    *(
        _other.c[name] == deliveries.c[name]
        for name in ("kind", "source", "route", "bucket", "key")
    ),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for. A lane without an entry in `limits` has none."""

    limits: Mapping[Lane, int]
    now: datetime
    kind: Kind | None = None
    only: str | None = None


def next_due(connection: Connection, wanted: Wanted) -> AnyRow | None:
    """The row of the next delivery to claim, or None.

    Lane by lane, so that ten thousand deliveries behind one closed lane cost as much as one.
    """
    closed = _closed(connection, wanted)
    best = _expired(connection, wanted, closed)
    for lane in _lanes(connection, wanted):
        if lane in closed:
            continue
        row = connection.execute(_head(wanted, lane)).first()
        if row is not None and (best is None or (row.due, row.id) < (best.due, best.id)):
            best = row
    return best


def _head(wanted: Wanted, lane: Lane) -> Select[tuple[object, ...]]:
    kind, destination = lane
    return (
        _free(wanted)
        .where(PENDING, deliveries.c.kind == kind, deliveries.c.destination == destination)
        .where(deliveries.c.due <= wanted.now)
        .limit(1)
    )


def _expired(connection: Connection, wanted: Wanted, closed: set[Lane]) -> AnyRow | None:
    """The first whose worker let its lease end. Never many: a worker has few seats."""
    query = _free(wanted).where(RUNNING, deliveries.c.leased_until <= wanted.now)
    if wanted.kind is not None:
        query = query.where(deliveries.c.kind == wanted.kind)
    rows = connection.execute(query).all()
    return next((row for row in rows if (row.kind, row.destination) not in closed), None)


def _free(wanted: Wanted) -> Select[tuple[object, ...]]:
    """Deliveries, those due longest first, whose object is not being imported by the same route."""
    busy = _SAME_OBJECT.where(_other.c.leased_until > wanted.now)
    query = (
        select(deliveries)
        .where(or_(deliveries.c.kind != Kind.IMPORT, ~busy))
        .order_by(deliveries.c.due, deliveries.c.id)
        .with_for_update(skip_locked=True, of=deliveries)
    )
    return query if wanted.only is None else query.where(deliveries.c.id == wanted.only)


def _lanes(connection: Connection, wanted: Wanted) -> Iterator[Lane]:
    """Every lane in which something is pending; each step is one look into the index."""
    if wanted.only is not None:
        only = select(deliveries.c.kind, deliveries.c.destination)
        for row in connection.execute(only.where(deliveries.c.id == wanted.only)):
            yield row.kind, row.destination
        return
    for kind in [wanted.kind] if wanted.kind else Kind:
        query = select(func.min(deliveries.c.destination)).where(PENDING, deliveries.c.kind == kind)
        destination = connection.execute(query).scalar()
        while destination is not None:
            yield kind, destination
            behind = query.where(deliveries.c.destination > destination)
            destination = connection.execute(behind).scalar()


def _closed(connection: Connection, wanted: Wanted) -> set[Lane]:
    """The lanes that are full or on hold."""
    number = func.count().label("number")
    lane = deliveries.c.kind, deliveries.c.destination
    leased = deliveries.c.leased_until > wanted.now
    running = connection.execute(select(*lane, number).where(RUNNING, leased).group_by(*lane))
    taken = {(row.kind, row.destination): row.number for row in running}
    full = {lane for lane, limit in wanted.limits.items() if taken.get(lane, 0) >= limit}
    held = connection.execute(
        select(holds.c.kind, holds.c.destination).where(holds.c.until > wanted.now)
    )
    return full | {(row.kind, row.destination) for row in held}
