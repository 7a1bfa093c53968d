"""Retention: old history goes, page by page, and never what the next upload is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, delete, exists, func, select, update

from relay.ledger.database import Database, LedgerPart
from relay.ledger.ids import id_of
from relay.ledger.latest_events import is_last
from relay.ledger.queue import CERTAIN_OUTCOMES
from relay.ledger.rows import AnyRow
from relay.ledger.schema import attempts, deliveries, digests, events, idempotency, notifications
from relay.model import Kind, State

PAGE = 500
"""Rows looked at in one transaction: short enough that nobody waits for it."""

_FINISHED = (State.SUCCEEDED, State.FAILED, State.SKIPPED)


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """What stays: `history` is for how long, `most` how many deliveries at the most, `bodies` for
    how long what came in is kept byte for byte."""

    history: timedelta
    most: int
    bodies: timedelta


@dataclass(frozen=True, slots=True)
class PruneResult:
    """What one page took away. `after`: where the next page begins; None: that was the last."""

    after: str | None
    deliveries: int = 0
    notifications: int = 0
    bodies: int = 0


class Retention(LedgerPart):
    """How the ledger stays bounded."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._is_last = is_last(sqlite=database.is_sqlite)

    def cutoff(self, kept: RetentionPolicy, now: datetime) -> str:
        """The id before which finished history may go: by age, or sooner when there is too much."""
        by_age = id_of(now - kept.history)
        newest = select(deliveries.c.id).order_by(deliveries.c.id.desc())
        with self._database.read() as connection:
            beyond = connection.execute(newest.offset(kept.most).limit(1)).scalar()
        return max(by_age, beyond or "")

    def prune_deliveries(self, before: str, after: str = "") -> PruneResult:
        """One page of deliveries whose id is in (after, before): the finished ones go, with their
        attempts and messages; of the imports of an object's last events all but these goes."""
        with self._database.write() as connection:
            page = select(deliveries.c.id).where(
                deliveries.c.id > after, deliveries.c.id < before, deliveries.c.parent.is_(None)
            )
            ids = list(connection.execute(page.order_by(deliveries.c.id).limit(PAGE)).scalars())
            old = self._old(connection, ids, before)
            gone = [row.id for row in old if not row.stays]
            _empty_attempts(connection, [row.id for row in old if row.stays])
            _delete(connection, _messages(connection, [row.id for row in old]))
            _delete(connection, gone)
        return PruneResult(ids[-1] if len(ids) == PAGE else None, deliveries=len(gone))

    def prune_notifications(self, before: str, bodies_before: str, after: str = "") -> PruneResult:
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
        return PruneResult(after_this, notifications=gone, bodies=emptied)

    def prune_digests(self, before: datetime, now: datetime) -> int:
        """The digests that targets taught us go when nobody asked for them since `before`; how
        many. The others are marked: whoever asks for one takes the mark away."""
        with self._database.write() as connection:
            unused = delete(digests).where(digests.c.unused < before)
            gone = connection.execute(unused).rowcount
            fresh = digests.c.unused.is_(None)
            connection.execute(update(digests).where(fresh).values(unused=now))
        return gone

    def _old(self, connection: Connection, ids: Sequence[str], before: str) -> list[AnyRow]:
        """Of these what ended before, all of its messages too, and ours until the transaction ends:
        who would try one of them again waits, and finds what is left. `stays`: whether it does."""
        if not ids:
            return []
        about_nothing = and_(deliveries.c.kind == Kind.MESSAGE, deliveries.c.event_id.is_(None))
        stays = and_(~about_nothing, self._is_last)
        query = (
            select(deliveries.c.id, deliveries.c.finished, stays.label("stays"))
            .outerjoin(events, events.c.id == deliveries.c.event_id)
            .where(deliveries.c.id.in_(ids), deliveries.c.state.in_(_FINISHED))
            .with_for_update(of=deliveries, skip_locked=True)
        )
        # What was tried again by hand is no older than its last run.
        old = [
            row
            for row in connection.execute(query)
            if row.finished is None or id_of(row.finished) < before
        ]
        telling = _telling(connection, [row.id for row in old])
        return [row for row in old if row.id not in telling]

    def _delete_notifications(self, connection: Connection, ids: Sequence[str]) -> int:
        if not ids:
            return 0
        delivered = exists().where(deliveries.c.event_id == events.c.id)
        old = select(events.c.id).where(
            events.c.notification_id.in_(ids), ~delivered, ~self._is_last
        )
        gone = events.c.id.in_(list(connection.execute(old).scalars()))
        connection.execute(delete(events).where(gone))
        told = exists().where(events.c.notification_id == notifications.c.id)
        empty = and_(notifications.c.id.in_(ids), ~told)
        return connection.execute(delete(notifications).where(empty)).rowcount


def _telling(connection: Connection, parents: Sequence[str]) -> set[str]:
    """Those of which a message is not finished, or in other hands; the other messages are ours."""
    its = deliveries.c.parent.in_(parents)
    finished = and_(its, deliveries.c.state.in_(_FINISHED))
    lock = select(deliveries.c.id).where(finished).with_for_update(skip_locked=True)
    ours = set(connection.execute(lock).scalars()) if parents else set()
    every = select(deliveries.c.id, deliveries.c.parent).where(its)
    rows = connection.execute(every).all() if parents else ()
    return {row.parent for row in rows if row.id not in ours}


def _messages(connection: Connection, parents: Sequence[str]) -> list[str]:
    query = select(deliveries.c.id).where(deliveries.c.parent.in_(parents))
    return list(connection.execute(query).scalars()) if parents else []


def _delete(connection: Connection, ids: Sequence[str]) -> None:
    if not ids:
        return
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids)))
    connection.execute(delete(idempotency).where(idempotency.c.delivery_id.in_(ids)))
    connection.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))


_its = attempts.alias("its")
_SETTLED = (
    select(func.coalesce(func.max(_its.c.number), 0))
    .where(_its.c.delivery_id == attempts.c.delivery_id)
    .where(_its.c.outcome.in_(CERTAIN_OUTCOMES))
    .scalar_subquery()
)
_LAST = select(func.max(_its.c.number)).where(_its.c.delivery_id == attempts.c.delivery_id)


def _empty_attempts(connection: Connection, ids: Sequence[str]) -> None:
    """Of the attempts of each stay the last one and the first that may have reached the target
    since the last success: by these a claim knows what came before it."""
    if not ids:
        return
    between = and_(attempts.c.number != _SETTLED + 1, attempts.c.number < _LAST.scalar_subquery())
    connection.execute(delete(attempts).where(attempts.c.delivery_id.in_(ids), between))


def _empty(connection: Connection, ids: Sequence[str]) -> int:
    if not ids:
        return 0
    full = and_(notifications.c.id.in_(ids), notifications.c.body != b"")
    return connection.execute(
        update(notifications).where(full).values(body=b"", headers={})
    ).rowcount
