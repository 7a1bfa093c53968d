"""Deletes old history page by page, except for what later uploads are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, or_, select, update

from relay.ledger.database import Database, LedgerPart
from relay.ledger.ids import id_of
from relay.ledger.intent_rows import CERTAIN_OUTCOMES
from relay.ledger.rows import AnyRow
from relay.ledger.schema import (
    OPEN_INTENT,
    attempts,
    deliveries,
    digests,
    events,
    idempotency,
    intents,
    notifications,
)
from relay.model import Kind, State

PAGE = 500
"""Rows per transaction: so few that other writers hardly wait."""

_HAS_OPEN_INTENT = exists().where(intents.c.delivery_id == deliveries.c.id, OPEN_INTENT)
_FINISHED = (State.SUCCEEDED, State.FAILED, State.SKIPPED)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """The limits of the history.

    `history`: the age of deliveries; `max_deliveries`: their number; `bodies`: the age of the
    bodies of notifications.
    """

    history: timedelta
    max_deliveries: int
    bodies: timedelta


@dataclass(frozen=True, slots=True)
class PruneResult:
    """The result of a page. `after`: where the next page begins; None: it was the last page."""

    after: str | None
    deliveries: int = 0
    notifications: int = 0
    bodies: int = 0


class Retention(LedgerPart):
    """Keeps the size of the ledger bounded."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._is_latest = _is_latest_event(sqlite=database.is_sqlite)

    def cutoff(self, policy: RetentionPolicy, now: datetime) -> str:
        """Return the id before which finished history is deleted, because of age or number."""
        by_age = id_of(now - policy.history)
        newest = select(deliveries.c.id).order_by(deliveries.c.id.desc())
        with self._database.read() as connection:
            query = newest.offset(policy.max_deliveries).limit(1)
            by_number = connection.execute(query).scalar()
        return max(by_age, by_number or "")

    def prune_deliveries(self, before: str, after: str = "") -> PruneResult:
        """Delete a page of finished deliveries with an id in (after, before).

        Their attempts and messages are deleted too. An import of the latest event of an object
        stays, with the attempts that a later claim needs.
        """
        with self._database.write() as connection:
            page = select(deliveries.c.id).where(
                deliveries.c.id > after, deliveries.c.id < before, deliveries.c.parent.is_(None)
            )
            ids = list(connection.execute(page.order_by(deliveries.c.id).limit(PAGE)).scalars())
            old = self._lock_old(connection, ids, before)
            deleted = [row.id for row in old if not row.stays]
            _thin_out_attempts(connection, [row.id for row in old if row.stays])
            messages = select(deliveries.c.id).where(
                deliveries.c.parent.in_([row.id for row in old])
            )
            _delete(connection, list(connection.execute(messages).scalars()) if old else [])
            _delete(connection, deleted)
        return PruneResult(ids[-1] if len(ids) == PAGE else None, deliveries=len(deleted))

    def prune_notifications(self, before: str, bodies_before: str, after: str = "") -> PruneResult:
        """Delete a page of notifications with an id in (after, before), unless an event is left.

        Events without a delivery are deleted with them. Notifications before `bodies_before` lose
        their body and headers.
        """
        with self._database.write() as connection:
            last = max(before, bodies_before)
            page = select(notifications.c.id).where(
                notifications.c.id > after, notifications.c.id < last
            )
            ids = list(connection.execute(page.order_by(notifications.c.id).limit(PAGE)).scalars())
            deleted = self._delete_notifications(connection, [id_ for id_ in ids if id_ < before])
            emptied = _delete_bodies(connection, [id_ for id_ in ids if id_ < bodies_before])
        next_after = ids[-1] if len(ids) == PAGE else None
        return PruneResult(next_after, notifications=deleted, bodies=emptied)

    def prune_digests(self, before: datetime, now: datetime) -> int:
        """Delete the target digests that were not used since `before`. Returns their number.

        All others are marked as unused since now; the next use removes the mark.
        """
        with self._database.write() as connection:
            unused = delete(digests).where(digests.c.unused < before)
            deleted = connection.execute(unused).rowcount
            unmarked = digests.c.unused.is_(None)
            connection.execute(update(digests).where(unmarked).values(unused=now))
        return deleted

    def _lock_old(self, connection: Connection, ids: Sequence[str], before: str) -> list[AnyRow]:
        """Lock and return the deliveries that ended before, with all their messages.

        A retrigger of them waits until the transaction ends. `stays`: the row is kept.
        """
        if not ids:
            return []
        is_standalone = and_(deliveries.c.kind == Kind.MESSAGE, deliveries.c.event_id.is_(None))
        stays = and_(~is_standalone, self._is_latest)
        query = (
            select(deliveries.c.id, deliveries.c.finished, stays.label("stays"))
            .outerjoin(events, events.c.id == deliveries.c.event_id)
            .where(deliveries.c.id.in_(ids), deliveries.c.state.in_(_FINISHED), ~_HAS_OPEN_INTENT)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        # A retriggered delivery is as old as the last run.
        old = [
            row
            for row in connection.execute(query)
            if row.finished is None or id_of(row.finished) < before
        ]
        open_parents = _with_open_messages(connection, [row.id for row in old])
        return [row for row in old if row.id not in open_parents]

    def _delete_notifications(self, connection: Connection, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        has_delivery = exists().where(deliveries.c.event_id == events.c.id)
        old_events = select(events.c.id).where(
            events.c.notification_id.in_(ids), ~has_delivery, ~self._is_latest
        )
        event_ids = list(connection.execute(old_events).scalars())
        connection.execute(delete(events).where(events.c.id.in_(event_ids)))
        has_event = exists().where(events.c.notification_id == notifications.c.id)
        is_empty = and_(notifications.c.id.in_(ids), ~has_event)
        return connection.execute(delete(notifications).where(is_empty)).rowcount


def _with_open_messages(connection: Connection, parents: Sequence[str]) -> set[str]:
    """Return the deliveries with an unfinished or locked message; lock all other messages."""
    if not parents:
        return set()
    of_parents = deliveries.c.parent.in_(parents)
    is_finished = and_(of_parents, deliveries.c.state.in_(_FINISHED))
    lock = select(deliveries.c.id).where(is_finished).with_for_update(skip_locked=True)
    locked = set(connection.execute(lock).scalars())
    messages = select(deliveries.c.id, deliveries.c.parent).where(of_parents)
    return {row.parent for row in connection.execute(messages) if row.id not in locked}


def _delete(connection: Connection, ids: Sequence[str]) -> None:
    if not ids:
        return
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
    connection.execute(delete(intents).where(intents.c.delivery_id.in_(ids)))
    connection.execute(delete(idempotency).where(idempotency.c.delivery_id.in_(ids)))
    connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))


_same = attempts.alias("its")
_LAST_CERTAIN = (
    select(func.coalesce(func.max(_same.c.number), 0))
    .where(_same.c.delivery_id == attempts.c.delivery_id)
    .where(_same.c.outcome.in_(CERTAIN_OUTCOMES))
    .scalar_subquery()
)
_LAST = select(func.max(_same.c.number)).where(_same.c.delivery_id == attempts.c.delivery_id)


def _thin_out_attempts(connection: Connection, ids: Sequence[str]) -> None:
    """Delete all attempts except for the last and the first after the last certain outcome.

    A later claim needs these to know whether the destination may have been reached.
    """
    if not ids:
        return
    is_between = and_(
        attempts.c.number != _LAST_CERTAIN + 1, attempts.c.number < _LAST.scalar_subquery()
    )
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids), is_between))


def _delete_bodies(connection: Connection, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    has_body = and_(notifications.c.id.in_(ids), notifications.c.body != b"")
    statement = update(notifications).where(has_body).values(body=b"", headers={})
    return connection.execute(statement).rowcount


_other = events.alias("other")
_SAME_OBJECT = [_other.c[name] == events.c[name] for name in ("source", "bucket", "key")]
_ARRIVED_LATER = or_(
    _other.c.received > events.c.received,
    and_(_other.c.received == events.c.received, _other.c.id > events.c.id),
)


def _is_latest_event(*, sqlite: bool) -> ColumnElement[bool]:
    """Return the condition for events that later uploads of their object are compared with.

    Events may arrive in any order. The latest events of an object are the last that arrived, the
    event with the latest time, and for each prefix of `order` the greatest; mostly the same event.
    """
    find = func.instr if sqlite else func.strpos
    colon = find(events.c.order, ":")
    prefix, other_prefix = (func.substr(table.c.order, 1, colon) for table in (events, _other))
    moment, other_moment = (
        func.coalesce(table.c.time, table.c.received) for table in (events, _other)
    )
    by_moment = _is_surpassed(other_moment, moment)
    by_order = _is_surpassed(_other.c.order, events.c.order, prefix == other_prefix)
    return ~and_(_has_other(_ARRIVED_LATER), by_moment, or_(colon == 0, by_order))


def _is_surpassed(
    other: ColumnElement[Any], this: ColumnElement[Any], *conditions: Any
) -> ColumnElement[bool]:
    """Return whether another event of the object has a greater value, or the same and arrived
    later."""
    # Nearly always the next event that arrived surpasses this event: an index lookup.
    by_next = _has_other(_other.c.received > events.c.received, other >= this, *conditions)
    by_any = _has_other(or_(other > this, and_(other == this, _ARRIVED_LATER)), *conditions)
    return or_(by_next, by_any)


def _has_other(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
    return exists().where(*_SAME_OBJECT, *conditions)
