"""Reading the ledger: one thing by its id, or what belongs to it."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, false, func, or_, select, true

from relay.ledger.database import Part
from relay.ledger.identity import CLOCKS, FOUND
from relay.ledger.rows import AnyRow, to_attempt, to_delivery, to_event, to_notification
from relay.ledger.schema import attempts, deliveries, events, notifications
from relay.ledger.values import Attempt, Notification
from relay.model import Delivery, Event, Kind

_mine, _other = events.alias("mine"), events.alias("other")
# Asked by every import and nearly always no: built once, for building takes longer than running.
_HAS_OTHERS = select(
    exists().where(
        _mine.c.id == bindparam("id"),
        _other.c.id != _mine.c.id,
        *(_other.c[name] == _mine.c[name] for name in ("source", "bucket", "key")),
    )
)


class Queries(Part):
    """What is there."""

    def delivery(self, id: str) -> Delivery | None:  # noqa: A002 - the noun of the house
        """The delivery by that id."""
        with self._database.read() as connection:
            row = connection.execute(select(deliveries).where(deliveries.c.id == id)).first()
            return to_delivery(row) if row else None

    def attempts(self, id: str) -> list[Attempt]:  # noqa: A002 - as above
        """The attempts of a delivery, the first one first."""
        query = select(attempts).where(attempts.c.delivery_id == id).order_by(attempts.c.number)
        with self._database.read() as connection:
            return [to_attempt(row) for row in connection.execute(query)]

    def messages(self, id: str) -> list[Delivery]:  # noqa: A002 - as above
        """The deliveries of the messages that tell of a delivery, the oldest first."""
        return self._deliveries(deliveries.c.parent == id)

    def event(self, id: str) -> Event | None:  # noqa: A002 - as above
        """The event by that id."""
        with self._database.read() as connection:
            row = connection.execute(select(events).where(events.c.id == id)).first()
            return to_event(row) if row else None

    def event_deliveries(self, event_id: str) -> list[Delivery]:
        """The imports that were made of an event (not their messages), the oldest first."""
        its = deliveries.c.event_id == event_id
        return self._deliveries(and_(its, deliveries.c.kind == Kind.IMPORT))

    def notification(self, id: str) -> Notification | None:  # noqa: A002 - as above
        """The notification by that id, with its body."""
        query = select(notifications).where(notifications.c.id == id)
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return to_notification(row) if row else None

    def announcement(self, event_id: str) -> Notification | None:
        """The notification that first told of an event, with its body."""
        query = (
            select(notifications)
            .join(events, events.c.notification_id == notifications.c.id)
            .where(events.c.id == event_id)
        )
        with self._database.read() as connection:
            row = connection.execute(query).first()
            return to_notification(row) if row else None

    def newer(self, event_id: str, route: str, *, perhaps: bool = False) -> str | None:
        """The id of a newer event of the same object that the same route has a delivery for.

        Certain is what the storage ordered itself. `perhaps`: also one of which, by the times, it
        cannot be excluded that it is newer; then only the storage can tell.
        """
        routed = exists().where(
            deliveries.c.event_id == events.c.id,
            deliveries.c.route == route,
            deliveries.c.kind == Kind.IMPORT,
            deliveries.c.destination != "",
        )
        with self._database.read() as connection:
            if not connection.execute(_HAS_OTHERS, {"id": event_id}).scalar():
                return None
            mine = connection.execute(select(events).where(events.c.id == event_id)).first()
            if mine is None:
                return None
            same = [events.c[name] == mine._mapping[name] for name in ("source", "bucket", "key")]
            query = select(events.c.id).where(*same, events.c.id != event_id, routed)
            query = query.where(_newer(mine, perhaps=perhaps))
            return connection.execute(query.order_by(events.c.received.desc()).limit(1)).scalar()

    def _deliveries(self, condition: ColumnElement[bool]) -> list[Delivery]:
        query = select(deliveries).where(condition).order_by(deliveries.c.id)
        with self._database.read() as connection:
            return [to_delivery(row) for row in connection.execute(query)]


def _newer(mine: AnyRow, *, perhaps: bool) -> ColumnElement[bool]:
    """By order where both have one of the same kind; else `perhaps`, unless it is surely older.

    Of equal orders too: some storages give all uploads the same.
    """
    otherwise = _may_be_newer(mine) if perhaps else false()
    prefix, colon, _ = mine.order.partition(":")
    if not colon:
        return otherwise
    same_kind = func.substr(events.c.order, 1, len(prefix) + 1) == prefix + ":"
    later = events.c.order >= mine.order if perhaps else events.c.order > mine.order
    return case((same_kind, later), else_=otherwise)


def _may_be_newer(mine: AnyRow) -> ColumnElement[bool]:
    """What was found was there when it was found, whatever the time that its listing gave: that is
    rounded, and a multipart upload's is that of its beginning."""
    if mine.time is None:
        return true()
    latest = case((events.c.type == FOUND, events.c.received), else_=events.c.time)
    return or_(latest.is_(None), latest >= mine.time - CLOCKS)
