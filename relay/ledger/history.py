"""Reads the history: single records, pages of them, and the latest event.

A page begins after the id of the last row of the previous page, so new rows do not shift the pages.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import (
    Column,
    ColumnElement,
    Select,
    bindparam,
    case,
    exists,
    false,
    func,
    or_,
    select,
    true,
)

from relay.errors import Rejected
from relay.ledger.database import Database, LedgerPart
from relay.ledger.identity import FOUND, TOLERANCE
from relay.ledger.rows import AnyRow, to_attempt, to_delivery, to_event, to_notification
from relay.ledger.schema import attempts, deliveries, events, notifications
from relay.ledger.values import Attempt, DeliveryQuery, Notification, Page
from relay.model import Delivery, Event, Kind, Localized, Origin

T = TypeVar("T")

MAX_LIMIT = 200
"""The largest page."""

# Every import runs this query, and the result is nearly always false. It is built once, because
# building a statement takes longer than running it.
_RESULT = select(deliveries.c.result).where(deliveries.c.id == bindparam("id"))


class History(LedgerPart):
    """Reads notifications, events, deliveries and their attempts."""

    def delivery(self, delivery_id: str) -> Delivery | None:
        """Return the delivery with this id."""
        return self._first(select(deliveries).where(deliveries.c.id == delivery_id), to_delivery)

    def attempts(self, delivery_id: str) -> list[Attempt]:
        """Return the attempts of a delivery, oldest first."""
        query = select(attempts).where(attempts.c.delivery_id == delivery_id)
        return self._all(query.order_by(attempts.c.number), to_attempt)

    def messages(self, delivery_id: str) -> list[Delivery]:
        """Return the messages about a delivery, oldest first."""
        query = select(deliveries).where(deliveries.c.parent == delivery_id)
        return self._all(query.order_by(deliveries.c.id), to_delivery)

    def event(self, event_id: str) -> Event | None:
        """Return the event with this id."""
        return self._first(select(events).where(events.c.id == event_id), to_event)

    def event_deliveries(self, event_id: str) -> list[Delivery]:
        """Return the imports of an event (not the messages), oldest first."""
        query = select(deliveries).where(
            deliveries.c.event_id == event_id, deliveries.c.kind == Kind.IMPORT
        )
        return self._all(query.order_by(deliveries.c.id), to_delivery)

    def notification(self, notification_id: str) -> Notification | None:
        """Return the notification with this id, with the body."""
        query = select(notifications).where(notifications.c.id == notification_id)
        return self._first(query, to_notification)

    def announcement(self, event_id: str) -> Notification | None:
        """Return the notification that first announced an event, with the body."""
        query = select(notifications).join(events, events.c.notification_id == notifications.c.id)
        return self._first(query.where(events.c.id == event_id), to_notification)

    def is_submitted(self, event_id: str) -> bool:
        """Return whether a person submitted the object: no storage announced it."""
        query = (
            select(notifications.c.origin)
            .join(events, events.c.notification_id == notifications.c.id)
            .where(events.c.id == event_id)
        )
        with self._database.read() as connection:
            return connection.execute(query).scalar() == Origin.SUBMISSION

    def newer_event(self, event_id: str, route: str, *, possibly: bool = False) -> str | None:
        """Return the id of a newer event of the same object with a delivery by the same route.

        Only the storage's own order is certain. With `possibly`, also return an event that may be
        newer according to the time; then the storage must be asked.
        """
        is_routed = exists().where(
            deliveries.c.event_id == events.c.id,
            deliveries.c.route == route,
            deliveries.c.kind == Kind.IMPORT,
            deliveries.c.destination != "",
        )
        with self._database.read() as connection:
            this = connection.execute(select(events).where(events.c.id == event_id)).first()
            if this is None:
                return None
            of_object = [
                events.c[name] == this._mapping[name] for name in ("source", "bucket", "key")
            ]
            query = select(events.c.id).where(*of_object, events.c.id != event_id, is_routed)
            query = query.where(_is_newer(this, possibly=possibly))
            return connection.execute(query.order_by(events.c.received.desc()).limit(1)).scalar()

    def deliveries(self, query: DeliveryQuery) -> Page[Delivery]:
        """Return a page of matching deliveries. Raises Rejected for a bad cursor, limit or glob."""
        rows = select(deliveries).where(*_conditions(self._database, query))
        return _select_page(self._database, rows, query.limit, query.cursor, to_delivery)

    def notifications(self, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """Return a page of notifications. Raises Rejected for a bad cursor or limit."""
        return _select_page(self._database, select(notifications), limit, cursor, to_notification)

    def message_thread(self, message_id: str) -> str | None:
        """Return the chat service's id of a posted message, or of the digest that contains it."""
        with self._database.read() as connection:
            result = connection.execute(_RESULT, {"id": message_id}).scalar() or {}
            if "digest" in result:
                result = connection.execute(_RESULT, {"id": result["digest"]}).scalar() or {}
        thread: str | None = result.get("thread")
        return thread

    def _first(self, query: Select[Any], convert: Callable[[AnyRow], T]) -> T | None:
        with self._database.read() as connection:
            row = connection.execute(query).first()
        return convert(row) if row else None

    def _all(self, query: Select[Any], convert: Callable[[AnyRow], T]) -> list[T]:
        with self._database.read() as connection:
            return [convert(row) for row in connection.execute(query)]


def _is_newer(this: AnyRow, *, possibly: bool) -> ColumnElement[bool]:
    """Return the condition for newer events.

    Events with comparable orders are compared by them; with `possibly`, equal orders match too,
    because some storages give the same order to all uploads.
    """
    otherwise = _may_be_newer(this) if possibly else false()
    prefix, colon, _ = this.order.partition(":")
    if not colon:
        return otherwise
    is_comparable = func.substr(events.c.order, 1, len(prefix) + 1) == prefix + ":"
    is_later = events.c.order >= this.order if possibly else events.c.order > this.order
    return case((is_comparable, is_later), else_=otherwise)


def _may_be_newer(this: AnyRow) -> ColumnElement[bool]:
    """Return the condition for events whose time does not exclude that they are newer.

    A listing's time is not reliable: it is rounded, and the start time of a multipart upload. The
    object existed when the scan found it.
    """
    if this.time is None:
        return true()
    latest = case((events.c.type == FOUND, events.c.received), else_=events.c.time)
    return or_(latest.is_(None), latest >= this.time - TOLERANCE)


def _select_page(
    database: Database,
    query: Select[Any],
    limit: int,
    cursor: str | None,
    convert: Callable[[AnyRow], T],
) -> Page[T]:
    """Return a page of the rows of `query`, newest first. Raises Rejected."""
    if not 1 <= limit <= MAX_LIMIT:
        raise Rejected(
            "limit",
            Localized(f"limit is {limit}", f"limit 为 {limit}"),
            Localized(f"Use 1 to {MAX_LIMIT}.", f"请使用 1 到 {MAX_LIMIT}。"),
        )
    # Ids sort by time, so an id is both the order and the position in it.
    id_ = query.selected_columns.id
    if cursor is not None:
        query = query.where(id_ < _decode_cursor(cursor))
    with database.read() as connection:
        rows = connection.execute(query.order_by(id_.desc()).limit(limit + 1)).all()
    next_cursor = _encode_cursor(rows[limit - 1].id) if len(rows) > limit else None
    return Page(tuple(convert(row) for row in rows[:limit]), next_cursor)


def _conditions(database: Database, query: DeliveryQuery) -> Iterator[ColumnElement[bool]]:
    """Yield the conditions of a query. Raises Rejected for a bad glob."""
    for name in ("state", "kind", "source", "route"):
        if (value := getattr(query, name)) is not None:
            yield deliveries.c[name] == value
    for name in ("bucket", "key"):
        if (glob := getattr(query, name)) is not None:
            yield _matches(database, deliveries.c[name], glob)
    if query.since is not None:
        yield deliveries.c.created >= query.since
    if query.until is not None:
        yield deliveries.c.created < query.until


def _matches(database: Database, column: Column[str], glob: str) -> ColumnElement[bool]:
    if not re.search(r"[*?\[]", glob):
        return column == glob
    try:
        return database.matches(column, glob)
    except ValueError as error:
        raise Rejected(
            column.name,
            Localized(
                f"The glob for {column.name} {error}", f"{column.name} 的通配符有误：{error}"
            ),
            Localized("Write it as in a route: prod/*.zip", "写法与路由相同：prod/*.zip"),
        ) from None


def _encode_cursor(id_: str) -> str:
    return urlsafe_b64encode(id_.encode()).decode().rstrip("=")


def _decode_cursor(cursor: str) -> str:
    try:
        id_ = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        id_ = ""
    if not re.fullmatch("[0-9a-z]{26}", id_):
        raise Rejected(
            "cursor",
            Localized("The cursor is not valid", "cursor 无效"),
            Localized("Use next_cursor of the previous page.", "请使用上一页返回的 next_cursor。"),
        )
    return id_
