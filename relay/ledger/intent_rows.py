"""Reads and closes intents within the transaction of another part of the ledger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, bindparam, func, or_, select, union_all, update
from sqlalchemy.sql.dml import ReturningUpdate

from relay.intents import MADE, ChangeCall, Intent, IntentState, NewIntent
from relay.ledger.database import Database
from relay.ledger.rows import AnyRow
from relay.ledger.schema import (
    OPEN_INTENT,
    PENDING,
    REPEATED_INTENT,
    attempts,
    deliveries,
    intents,
)
from relay.model import AttemptOutcome, Delivery, Json, Kind

CERTAIN_OUTCOMES = (AttemptOutcome.SUCCEEDED, AttemptOutcome.SKIPPED)
"""Outcomes after which the state of the destination is known."""

_AMBIGUOUS_OUTCOMES = (AttemptOutcome.LOST, AttemptOutcome.HUNG, AttemptOutcome.RELEASED)
_AMBIGUOUS_CODES = ("outbound.answer_lost", "functiongraph.", "conflict.")

UNRECORDED_SETTLES = timedelta(minutes=5)
"""How long a call of an older Relay, which recorded no intent, may still take effect."""

_EARLIER = (*MADE, IntentState.OVERWRITTEN)

WHAT = tuple(field.name for field in fields(NewIntent))
_OF_DELIVERY = (
    select(intents)
    .where(intents.c.delivery_id == bindparam("this_id"))
    .where(
        or_(
            intents.c.state == IntentState.OPEN,
            and_(intents.c.state.in_(_EARLIER), intents.c.run == bindparam("this_run")),
        )
    )
    .order_by(intents.c.id)
)
_OF_OTHERS = and_(
    intents.c.destination == bindparam("this_destination"),
    intents.c.function == bindparam("this_function"),
    intents.c.delivery_id != bindparam("this_id"),
)
# Each part has an index of its own.
_UNSETTLED_OF_OTHERS = union_all(
    select(intents).where(OPEN_INTENT, _OF_OTHERS),
    select(intents).where(REPEATED_INTENT, _OF_OTHERS, intents.c.settled_at > bindparam("now")),
).order_by("id")
_CLOSE = (
    update(intents)
    .where(OPEN_INTENT)
    .values(state=bindparam("new_state"), closed=bindparam("now"), next_question=None)
    .returning(intents.c.destination, intents.c.function, intents.c.settled_at)
)
_CLOSE_OF_DELIVERY = _CLOSE.where(intents.c.delivery_id == bindparam("this_id"))
_CLOSE_REPEATED = _CLOSE_OF_DELIVERY.where(
    intents.c.attempt < bindparam("this_attempt"),
    intents.c.call != ChangeCall.CREATE,  # refused, because the function exists
    intents.c.settled_at > bindparam("now"),
)
_CLOSE_THESE = _CLOSE.where(intents.c.id.in_(bindparam("ids", expanding=True)))
_WAKE_WAITING = (
    update(deliveries)
    .where(
        PENDING,
        deliveries.c.kind == Kind.IMPORT,
        deliveries.c.destination == bindparam("this_destination"),
        deliveries.c.function == bindparam("this_function"),
        deliveries.c.due == bindparam("this_settled_at"),
    )
    .values(due=bindparam("now"))
)


def load_intents(connection: Connection, delivery_id: str, run: int) -> tuple[Intent, ...]:
    """Return the intents that a claim carries; see Claim."""
    params = {"this_id": delivery_id, "this_run": run}
    recorded = [*map(to_intent, connection.execute(_OF_DELIVERY, params))]
    return (*_unrecorded(connection, delivery_id), *recorded)


def _unrecorded(connection: Connection, delivery_id: str) -> Iterator[Intent]:
    """Yield an intent for attempts of an older Relay that may have reached the target."""
    of_delivery = attempts.c.delivery_id == delivery_id
    last_certain = (
        select(func.coalesce(func.max(attempts.c.number), 0))
        .where(of_delivery, attempts.c.outcome.in_(CERTAIN_OUTCOMES))
        .scalar_subquery()
    )
    query = select(attempts.c.started, attempts.c.finished, attempts.c.outcome, attempts.c.error)
    query = query.where(
        of_delivery,
        attempts.c.kind == Kind.IMPORT,
        attempts.c.number > last_certain,
        attempts.c.finished.is_not(None),
        attempts.c.records_intents.is_(None),
    )
    rows = [
        (started, finished)
        for started, finished, outcome, error in connection.execute(query)
        if _is_ambiguous(outcome, error)
    ]
    if rows:
        settled_at = max(finished for _, finished in rows) + UNRECORDED_SETTLES
        yield Intent("", delivery_id, None, min(started for started, _ in rows), settled_at)


def _is_ambiguous(outcome: AttemptOutcome, error: Json | None) -> bool:
    if outcome is AttemptOutcome.RETRY:
        return str((error or {}).get("code")).startswith(_AMBIGUOUS_CODES)
    return outcome in _AMBIGUOUS_OUTCOMES


def unsettled_intents_of_others(
    connection: Connection, destination: str, function: str, other_than: str, now: datetime
) -> tuple[Intent, ...]:
    """Return the intents of a function whose calls may have changed it or still may.

    Those of the delivery `other_than` do not count.
    """
    params = {"this_destination": destination, "this_function": function, "this_id": other_than}
    return tuple(map(to_intent, connection.execute(_UNSETTLED_OF_OTHERS, {**params, "now": now})))


def close_confirmed(
    database: Database, connection: Connection, delivery: Delivery, now: datetime
) -> None:
    """Close all open intents of an import that is confirmed.

    An update of an earlier attempt may be carried out once more, until it is settled.
    """
    this = {"this_id": delivery.id}
    if delivery.attempts == 1:  # no other import has waited for a call of this one
        applied = {**this, "new_state": IntentState.APPLIED, "now": now}
        connection.execute(_CLOSE_OF_DELIVERY, applied)
        return
    earlier = {**this, "this_attempt": delivery.attempts}
    _close(database, connection, _CLOSE_REPEATED, IntentState.REPEATED, now, **earlier)
    _close(database, connection, _CLOSE_OF_DELIVERY, IntentState.APPLIED, now, **this)


def close_intents(
    database: Database,
    connection: Connection,
    ids: Collection[str],
    state: IntentState,
    now: datetime,
) -> None:
    """Close these intents, as far as they are open."""
    _close(database, connection, _CLOSE_THESE, state, now, ids=[*ids])


def _close(
    database: Database,
    connection: Connection,
    statement: ReturningUpdate[Any],
    state: IntentState,
    now: datetime,
    **params: object,
) -> None:
    rows = connection.execute(statement, {"new_state": state, "now": now, **params}).all()
    # FunctionOrder.lock made waiting imports due at exactly this time.
    for row in (row for row in rows if row.settled_at > now):
        waiting = {f"this_{name}": value for name, value in row._mapping.items()}
        if connection.execute(_WAKE_WAITING, {**waiting, "now": now}).rowcount:
            database.notify_workers(connection)


def to_intent(row: AnyRow) -> Intent:
    """Convert a row."""
    what = NewIntent(**{name: row._mapping[name] for name in WHAT})
    return Intent(row.id, row.delivery_id, what, row.recorded, row.settled_at, row.state)
