"""Which delivery is next: the one that is due longest, whose way is free."""

from __future__ import annotations

from collections.abc import Iterator
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
from relay.store.gates import Lane, Limits, closed
from relay.store.rows import AnyRow
from relay.store.schema import PENDING, RUNNING, deliveries

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

    limits: Limits
    now: datetime
    kind: Kind | None = None
    only: str | None = None


def next_due(connection: Connection, wanted: Wanted) -> AnyRow | None:
    """The row of the next delivery to claim, or None.

    Lane by lane, so that ten thousand deliveries behind one closed lane cost as much as one.
    """
    shut = closed(connection, wanted.limits, wanted.now)
    best = _expired(connection, wanted, shut)
    for lane in _lanes(connection, wanted):
        if lane in shut:
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


def _expired(connection: Connection, wanted: Wanted, shut: set[Lane]) -> AnyRow | None:
    """The first whose worker let its lease end. Never many: a worker has few seats."""
    query = _free(wanted).where(RUNNING, deliveries.c.leased_until <= wanted.now)
    if wanted.kind is not None:
        query = query.where(deliveries.c.kind == wanted.kind)
    rows = connection.execute(query).all()
    return next((row for row in rows if (row.kind, row.destination) not in shut), None)


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
