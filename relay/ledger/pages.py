"""Lists of the ledger, page by page; new rows never move a page."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import TypeVar

from sqlalchemy import Column, ColumnElement, Table, select, true

from relay.errors import Rejected
from relay.ledger.database import Database, Part
from relay.ledger.rows import AnyRow, to_delivery, to_notification
from relay.ledger.schema import deliveries, notifications
from relay.ledger.values import DeliveryQuery, Notification, Page
from relay.model import Delivery, Text

MOST = 200
"""The largest page."""

T = TypeVar("T")


class Lists(Part):
    """What is there, by the page, newest first."""

    def deliveries(self, query: DeliveryQuery) -> Page[Delivery]:
        """The deliveries that match. Raises Rejected: the cursor, the limit or a glob is wrong."""
        where = list(_conditions(self._database, query))
        return self._page(deliveries, (query.limit, query.cursor), to_delivery, where)

    def notifications(self, limit: int = 50, cursor: str | None = None) -> Page[Notification]:
        """What came in. Raises Rejected: the cursor or the limit is wrong."""
        return self._page(notifications, (limit, cursor), to_notification, [])

    def _page(
        self,
        table: Table,
        place: tuple[int, str | None],
        read: Callable[[AnyRow], T],
        where: list[ColumnElement[bool]],
    ) -> Page[T]:
        limit, cursor = place
        if not 1 <= limit <= MOST:
            raise Rejected(
                "limit",
                Text(f"limit is {limit}", f"limit 为 {limit}"),
                Text(f"Use 1 to {MOST}.", f"请使用 1 到 {MOST}。"),
            )
        # Ids sort by time: they are the order and the place in it at once.
        older = table.c.id < _decoded(cursor) if cursor is not None else true()
        query = select(table).where(older, *where).order_by(table.c.id.desc()).limit(limit + 1)
        with self._database.read() as connection:
            rows = connection.execute(query).all()
        more = _encoded(rows[limit - 1].id) if len(rows) > limit else None
        return Page(tuple(read(row) for row in rows[:limit]), more)


def _conditions(database: Database, query: DeliveryQuery) -> Iterator[ColumnElement[bool]]:
    for name in ("state", "kind", "source", "route"):
        if (wanted := getattr(query, name)) is not None:
            yield deliveries.c[name] == wanted
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
            Text(f"The glob for {column.name} {error}", f"{column.name} 的通配符有误：{error}"),
            Text("Write it as in a route: prod/*.zip", "写法与路由相同：prod/*.zip"),
        ) from None


def _encoded(id_: str) -> str:
    return urlsafe_b64encode(id_.encode()).decode().rstrip("=")


def _decoded(cursor: str) -> str:
    try:
        id_ = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except ValueError:
        id_ = ""
    if not re.fullmatch("[0-9a-z]{26}", id_):
        raise Rejected(
            "cursor",
            Text("The cursor is not one that we gave out", "cursor 无效"),
            Text("Take next_cursor from the page before.", "请使用上一页返回的 next_cursor。"),
        )
    return id_
