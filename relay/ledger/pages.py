"""Pagination of lists by the id of the last row; new rows do not shift the pages."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from sqlalchemy import Column, ColumnElement, Select

from relay.errors import Rejected
from relay.ledger.database import Database
from relay.ledger.rows import AnyRow
from relay.ledger.schema import deliveries
from relay.ledger.values import DeliveryQuery, Page
from relay.model import Localized

MAX_LIMIT = 200
"""The largest page."""

T = TypeVar("T")


def select_page(
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
        query = query.where(id_ < _decode(cursor))
    with database.read() as connection:
        rows = connection.execute(query.order_by(id_.desc()).limit(limit + 1)).all()
    next_cursor = _encode(rows[limit - 1].id) if len(rows) > limit else None
    return Page(tuple(convert(row) for row in rows[:limit]), next_cursor)


def conditions(database: Database, query: DeliveryQuery) -> Iterator[ColumnElement[bool]]:
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


def _encode(id_: str) -> str:
    return urlsafe_b64encode(id_.encode()).decode().rstrip("=")


def _decode(cursor: str) -> str:
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
