"""Retention: old history goes, page by page, and never what the next upload is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    Connection,
    and_,
    delete,
    exists,
    or_,
    select,
    update,
)

from relay.ids import id_of
from relay.model import Kind, State
from relay.store.engine import Part
from relay.store.schema import (
    attempts,
    deliveries,
    events,
    idempotency,
    notifications,
)

PAGE = 500
"""Rows looked at in one transaction: short enough that nobody waits for it."""

_FINISHED = (State.SUCCEEDED, State.FAILED, State.SKIPPED)


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays: `history` is for how long, `most` how many deliveries at the most, `bodies` for
    how long what came in is kept byte for byte."""

    history: timedelta
    most: int
    bodies: timedelta


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one page took away. `after`: where the next page begins; None: that was the last."""

    after: str | None
    deliveries: int = 0
    notifications: int = 0
    bodies: int = 0


class Retention(Part):
    """How the ledger stays bounded."""

    def cutoff(self, kept: Kept, now: datetime) -> str:
        """The id before which finished history may go: by age, or sooner when there is too much."""
        by_age = id_of(now - kept.history)
        newest = select(deliveries.c.id).order_by(deliveries.c.id.desc())
        with self._database.read() as connection:
            beyond = connection.execute(newest.offset(kept.most).limit(1)).scalar()
        return max(by_age, beyond or "")

    def prune_deliveries(self, before: str, after: str = "") -> Pruned:
        """One page of deliveries whose id is in (after, before): the finished ones go, with their
        attempts and messages; but not the last ones of an object's newest version."""
        with self._database.write() as connection:
            page = select(deliveries.c.id).where(
                deliveries.c.id > after, deliveries.c.id < before, deliveries.c.parent.is_(None)
            )
            ids = list(connection.execute(page.order_by(deliveries.c.id).limit(PAGE)).scalars())
            gone = _old_deliveries(connection, ids)
            self._delete_deliveries(connection, gone)
        return Pruned(ids[-1] if len(ids) == PAGE else None, deliveries=len(gone))

    def prune_notifications(self, before: str, bodies_before: str, after: str = "") -> Pruned:
        """One page of notifications whose id is after `after`: those before `before` go when no
        event of theirs is left, and the events that no delivery is left of go with them; of those
        before `bodies_before` the body and the headers go."""
        with self._database.write() as connection:
            last = max(before, bodies_before)
            page = select(notifications.c.id).where(
                notifications.c.id > after, notifications.c.id < last
            )
            ids = list(connection.execute(page.order_by(notifications.c.id).limit(PAGE)).scalars())
            gone = self._delete_notifications(connection, [one for one in ids if one < before])
            emptied = _empty(connection, [one for one in ids if one < bodies_before])
        after_this = ids[-1] if len(ids) == PAGE else None
        return Pruned(after_this, notifications=gone, bodies=emptied)

    def _delete_deliveries(self, connection: Connection, ids: Sequence[str]) -> None:
        if not ids:
            return
        children = select(deliveries.c.id).where(deliveries.c.parent.in_(ids))
        every = [*connection.execute(children).scalars(), *ids]
        their = attempts.c.delivery_id.in_(every)
        connection.execute(delete(attempts).where(their))
        connection.execute(delete(idempotency).where(idempotency.c.delivery_id.in_(every)))
        # Messages before what they tell of.
        connection.execute(delete(deliveries).where(deliveries.c.parent.in_(ids)))
        connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))

    def _delete_notifications(self, connection: Connection, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        delivered = exists().where(deliveries.c.event_id == events.c.id)
        old = select(events.c.id).where(events.c.notification_id.in_(ids), ~delivered, _NOT_NEWEST)
        gone = events.c.id.in_(list(connection.execute(old).scalars()))
        connection.execute(delete(events).where(gone))
        told = exists().where(events.c.notification_id == notifications.c.id)
        empty = and_(notifications.c.id.in_(ids), ~told)
        return connection.execute(delete(notifications).where(empty)).rowcount


_newer = events.alias("newer")
_NOT_NEWEST = exists().where(
    _newer.c.source == events.c.source,
    _newer.c.bucket == events.c.bucket,
    _newer.c.key == events.c.key,
    or_(
        _newer.c.received > events.c.received,
        and_(_newer.c.received == events.c.received, _newer.c.id > events.c.id),
    ),
)
"""Whether another event of the same object came later: only the newest tells what is known."""

_message = deliveries.alias("message")
_TELLING = exists().where(_message.c.parent == deliveries.c.id, _message.c.state.not_in(_FINISHED))


def _old_deliveries(connection: Connection, ids: Sequence[str]) -> list[str]:
    about_nothing = and_(deliveries.c.kind == Kind.MESSAGE, deliveries.c.event_id.is_(None))
    query = (
        select(deliveries.c.id)
        .outerjoin(events, events.c.id == deliveries.c.event_id)
        .where(deliveries.c.id.in_(ids), deliveries.c.state.in_(_FINISHED), ~_TELLING)
        .where(or_(about_nothing, _NOT_NEWEST))
    )
    return list(connection.execute(query).scalars()) if ids else []


def _empty(connection: Connection, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    full = and_(notifications.c.id.in_(ids), notifications.c.body != b"")
    return connection.execute(
        update(notifications).where(full).values(body=b"", headers={})
    ).rowcount
