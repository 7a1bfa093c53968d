"""Which delivery is next: the one that is due longest, whose way is free."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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

from relay.ledger.destinations import Destination, LaneLimits, closed
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
_RUNS = ("kind", "destination", "leased_until", "function")
_UNDER_WAY = UNDER_WAY.with_only_columns(*(deliveries.c[name] for name in _RUNS))

# Built once, not for each claim: building takes longer than running.
_d = deliveries.c
_now: BindParameter[datetime] = bindparam("now")
_over: BindParameter[datetime] = bindparam("over")
_FREE = (
    # Those due longest first, whose object is not being imported by the same route.
    select(deliveries)
    .where(or_(_d.kind != Kind.IMPORT, ~_SAME_OBJECT.where(_other.c.leased_until > _over)))
    .order_by(_d.due, _d.id)
    .with_for_update(skip_locked=True, of=deliveries)
)
_EXPIRED = _FREE.where(RUNNING, _d.leased_until <= _over)
_LANE = PENDING, _d.kind == bindparam("kind")
_HEAD = _FREE.where(*_LANE, _d.destination == bindparam("destination"), _d.due <= _now).limit(1)
_HEAD_BESIDE = _HEAD.where(
    or_(_d.function.is_(None), _d.function.not_in(bindparam("busy", expanding=True)))
)
# Each step is one look into the index, however many are pending in a lane.
_STEP = select(func.min(_d.destination)).where(*_LANE)
_lane = _STEP.cte("lane", recursive=True)
_lane = _lane.union_all(
    select(_STEP.where(_d.destination > _lane.c[0]).scalar_subquery()).where(
        _lane.c[0].is_not(None)
    )
)
_LANES = select(_lane.c[0]).where(_lane.c[0].is_not(None))
_IS_DUE = exists().where(*_LANE, _d.destination == _lane.c[0], _d.due <= _now)
_IS_OVER = exists().where(RUNNING, _d.kind == bindparam("kind"), _d.leased_until <= _over)
IS_ANY_DUE = select(or_(exists(select(_lane.c[0]).where(_IS_DUE)), _IS_OVER))


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What is looked for. A lane without an entry in `limits` has none; leases count as ended that
    ended until `over`."""

    limits: LaneLimits
    now: datetime
    over: datetime
    kind: Kind | None = None
    only: str | None = None


def next_due(connection: Connection, wanted: ClaimRequest) -> AnyRow | None:
    """The row of the next delivery to claim, or None.

    Lane by lane, so that ten thousand deliveries behind one closed lane cost as much as one.
    """
    running = connection.execute(_UNDER_WAY).all()
    leased = [row for row in running if row.leased_until > wanted.over]
    shut = closed(connection, leased, wanted.limits, wanted.now)
    expired = len(leased) < len(running)
    best = _expired(connection, wanted, shut) if expired else None
    for lane in _wanted_lanes(connection, wanted):
        if lane in shut:
            continue
        row = _head(connection, wanted, lane, _functions(running, lane))
        if row is not None and (best is None or (row.due, row.id) < (best.due, best.id)):
            best = row
    return best


def _head(
    connection: Connection, wanted: ClaimRequest, lane: Destination, busy: Sequence[str]
) -> AnyRow | None:
    """The first of a lane that leads to none of the functions that are being imported now."""
    kind, destination = lane
    query = _only(_HEAD_BESIDE if busy else _HEAD, wanted)
    here = {"kind": kind, "destination": destination, "now": wanted.now, "over": wanted.over}
    return connection.execute(query, {**here, "busy": busy} if busy else here).first()


def _functions(running: Sequence[AnyRow], lane: Destination) -> list[str]:
    """What is being imported in a lane, also under a lease that has ended: who takes that over
    comes first."""
    there = (row for row in running if (row.kind, row.destination) == lane)
    return [row.function for row in there if row.function is not None]


def _expired(connection: Connection, wanted: ClaimRequest, shut: set[Destination]) -> AnyRow | None:
    """The first whose worker let its lease end. Never many: a worker has few seats."""
    rows = connection.execute(_only(_EXPIRED, wanted), {"over": wanted.over}).all()
    open_ = (row for row in rows if (row.kind, row.destination) not in shut)
    return next((row for row in open_ if wanted.kind in (None, row.kind)), None)


def _only(query: Select[tuple[object, ...]], wanted: ClaimRequest) -> Select[tuple[object, ...]]:
    return query if wanted.only is None else query.where(deliveries.c.id == wanted.only)


def _wanted_lanes(connection: Connection, wanted: ClaimRequest) -> Iterator[Destination]:
    if wanted.only is None:
        yield from lanes(connection, [wanted.kind] if wanted.kind else Kind)
        return
    only = select(deliveries.c.kind, deliveries.c.destination)
    for row in connection.execute(only.where(deliveries.c.id == wanted.only)):
        yield row.kind, row.destination


def lanes(connection: Connection, kinds: Iterable[Kind] = Kind) -> Iterator[Destination]:
    """Every lane in which something is pending."""
    for kind in kinds:
        for destination in connection.execute(_LANES, {"kind": kind}).scalars().all():
            yield kind, destination
