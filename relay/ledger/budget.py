"""The budget of a delivery: the failures and the time after which Relay gives up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    Connection,
    bindparam,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    type_coerce,
    update,
)

from relay.ledger.rows import AnyRow
from relay.ledger.schema import PENDING, RUNNING, deliveries, gates
from relay.ledger.types import UtcTimestamp
from relay.model import Delivery, Kind, Retry

_d = deliveries.c
_BEGAN = func.coalesce(_d.budget_from, _d.created, type_=UtcTimestamp())
_now: BindParameter[datetime] = bindparam("now", type_=UtcTimestamp())
_gate = exists().where(gates.c.kind == _d.kind, gates.c.destination == _d.destination)
# Built once: building a statement takes longer than running it.
_OVERDUE = (
    select(deliveries)
    .where(
        PENDING,
        _d.kind == bindparam("kind"),
        bindparam("began_before", type_=UtcTimestamp()) >= _BEGAN,
        ~_gate.where(gates.c.paused.is_not(None)),
        or_(_d.due > _now, _gate.where(or_(gates.c.down.is_not(None), gates.c.until > _now))),
    )
    .order_by(_d.due, _d.id)
    .limit(1)
    .with_for_update(skip_locked=True, of=deliveries)
)


def overdue(
    connection: Connection, kind: Kind, began_before: datetime, now: datetime
) -> AnyRow | None:
    """Return the row of a pending delivery whose time began before then, and which has to wait.

    It waits because it is due later, or because its destination is down or asked to wait. All other
    deliveries are tried once more. No time passes for a paused destination.
    """
    times = {"kind": kind, "began_before": began_before, "now": now}
    return connection.execute(_OVERDUE, times).first()


def retry_cost(delivery: Delivery, retry: Retry, now: datetime, due: datetime) -> dict[str, Any]:
    """Return the values of a delivery that is tried again at `due`. The claim has counted a try."""
    values: dict[str, Any] = {"gave_up": retry.gave_up}
    if retry.asked_to_wait or not retry.counts_as_attempt:
        values["tries"] = _d.tries - 1
    if retry.asked_to_wait:
        values["waits"] = _d.waits + 1
    if retry.not_configured:
        last = delivery.error
        was_missing = last is not None and last.code == retry.problem.code
        missing_since = delivery.due if was_missing and delivery.due else now
        values["budget_from"] = _moved(due - missing_since)
    return values


def credit_pause(
    connection: Connection, kind: Kind, destination: str, paused: datetime, now: datetime
) -> None:
    """Take a pause until now out of the time of all unfinished deliveries."""
    began = case(
        (literal(paused, UtcTimestamp()) < _BEGAN, literal(now, UtcTimestamp())),
        else_=_moved(now - paused),
    )
    statement = update(deliveries).where(
        or_(PENDING, RUNNING), _d.kind == kind, _d.destination == destination
    )
    connection.execute(statement.values(budget_from=began))


def _moved(by: timedelta) -> ColumnElement[datetime]:
    moved = type_coerce(_BEGAN, BigInteger) + by // timedelta(microseconds=1)
    return type_coerce(moved, UtcTimestamp())
