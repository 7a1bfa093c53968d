"""Reads the history: single records, lists, and which event or message is the latest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, case, exists, false, func, or_, select, true

from relay.ledger.database import LedgerPart
from relay.ledger.identity import FOUND, TOLERANCE
from relay.ledger.pages import conditions, select_page
from relay.ledger.rows import AnyRow, to_attempt, to_delivery, to_event, to_notification
from relay.ledger.schema import attempts, deliveries, events, notifications
from relay.ledger.values import Attempt, DeliveryQuery, Notification, Page
from relay.model import Delivery, Event, Json, Kind

_mine, _other = events.alias("mine"), events.alias("other")
# Asked by every import and nearly always no: built once, for building takes longer than running.
_HAS_OTHERS = select(
    exists().where(
        _mine.c.id == bindparam("id"),
        _other.c.id != _mine.c.id,
        *(_other.c[name] == _mine.c[name] for name in ("source", "bucket", "key")),
    )
)


_LOOKED_AT = 100
"""Messages of an object that are looked at, the newest: its last news are among them."""

_SAME = ("key", "source", "bucket", "route")
_NEWEST = (
    select(*(deliveries.c[name] for name in ("id", "destination", "created", "message")))
    .where(*(deliveries.c[name] == bindparam(name) for name in _SAME))
    .where(deliveries.c.kind == Kind.MESSAGE)
    .order_by(deliveries.c.id.desc())
    .limit(_LOOKED_AT)
)
_RESULT = select(deliveries.c.result).where(deliveries.c.id == bindparam("id"))


class History(LedgerPart):
    """Reads notifications, events, deliveries and their attempts."""

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

    def newer_event(self, event_id: str, route: str, *, possibly: bool = False) -> str | None:
        """The id of a newer event of the same object that the same route has a delivery for.

        Certain is what the storage ordered itself. `possibly`: also one of which, by the times, it
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
            query = query.where(_newer(mine, possibly=possibly))
            return connection.execute(query.order_by(events.c.received.desc()).limit(1)).scalar()

    def deliveries(self, query: DeliveryQuery) -> Page[Delivery]:
        """The deliveries that match. Raises Rejected: the cursor, the limit or a glob is wrong."""
        where = conditions(self._database, query)
        return select_page(
            self._database, deliveries, (query.limit, query.cursor), to_delivery, where
        )

    def notifications(self, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """What came in. Raises Rejected: the cursor or the limit is wrong."""
        return select_page(self._database, notifications, (limit, cursor), to_notification)

    def last_failures(self, delivery: Delivery) -> Mapping[str, Json]:
        """For each channel that heard last of this object, by this route, that its import failed:
        when that was and in which message, as {"failed_at": time, "message": id}."""
        last: dict[str, Any] = {}
        same = {name: getattr(delivery, name) for name in _SAME}
        with self._database.read() as connection:
            for row in connection.execute(_NEWEST, same):
                last.setdefault(row.destination, row)
        return {
            channel: {"failed_at": row.created.isoformat(timespec="seconds"), "message": row.id}
            for channel, row in last.items()
            if row.message["type"] == "import.failed"
        }

    def message_thread(self, message_id: str) -> str | None:
        """The service's own name of a message, or of the digest that it was told in."""
        with self._database.read() as connection:
            result = connection.execute(_RESULT, {"id": message_id}).scalar() or {}
            if "digest" in result:
                result = connection.execute(_RESULT, {"id": result["digest"]}).scalar() or {}
        thread: str | None = result.get("thread")
        return thread

    def _deliveries(self, condition: ColumnElement[bool]) -> list[Delivery]:
        query = select(deliveries).where(condition).order_by(deliveries.c.id)
        with self._database.read() as connection:
            return [to_delivery(row) for row in connection.execute(query)]


def _newer(mine: AnyRow, *, possibly: bool) -> ColumnElement[bool]:
    """By order where both have one of the same kind; else `possibly`, unless it is surely older.

    Of equal orders too: some storages give all uploads the same.
    """
    otherwise = _may_be_newer(mine) if possibly else false()
    prefix, colon, _ = mine.order.partition(":")
    if not colon:
        return otherwise
    same_kind = func.substr(events.c.order, 1, len(prefix) + 1) == prefix + ":"
    later = events.c.order >= mine.order if possibly else events.c.order > mine.order
    return case((same_kind, later), else_=otherwise)


def _may_be_newer(mine: AnyRow) -> ColumnElement[bool]:
    """What was found was there when it was found, whatever the time that its listing gave: that is
    rounded, and a multipart upload's is that of its beginning."""
    if mine.time is None:
        return true()
    latest = case((events.c.type == FOUND, events.c.received), else_=events.c.time)
    return or_(latest.is_(None), latest >= mine.time - TOLERANCE)
