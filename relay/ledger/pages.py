"""Lists of the ledger, page by page; new rows never move a page."""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sqlalchemy import Column, ColumnElement, Table, select, true

from relay.errors import Rejected
from relay.ledger.database import Database
from relay.ledger.rows import AnyRow
from relay.ledger.schema import deliveries
from relay.ledger.values import DeliveryQuery, Page
from relay.model import Localized

MOST = 200
"""The largest page."""

T = TypeVar("T")


def select_page(
    database: Database,
    table: Table,
    place: tuple[int, str | None],
    read: Callable[[AnyRow], T],
    where: Iterable[ColumnElement[bool]] = (),
) -> Page[T]:
    """The page of `table` at `place` (limit, cursor), newest first. Raises Rejected."""
    limit, cursor = place
    if not 1 <= limit <= MOST:
        raise Rejected(
            "limit",
            Localized(f"limit is {limit}", f"limit 为 {limit}"),
            Localized(f"Use 1 to {MOST}.", f"请使用 1 到 {MOST}。"),
        )
    # Ids sort by time: they are the order and the place in it at once.
    older = table.c.id < _decoded(cursor) if cursor is not None else true()
    query = select(table).where(older, *where).order_by(table.c.id.desc()).limit(limit + 1)
    with database.read() as connection:
        rows = connection.execute(query).all()
    more = _encoded(rows[limit - 1].id) if len(rows) > limit else None
    return Page(tuple(read(row) for row in rows[:limit]), more)


def conditions(database: Database, query: DeliveryQuery) -> Iterator[ColumnElement[bool]]:
    """The filters of a query. Raises Rejected: a glob is wrong."""
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
            Localized(
                f"The glob for {column.name} {error}", f"{column.name} 的通配符有误：{error}"
            ),
            Localized("Write it as in a route: prod/*.zip", "写法与路由相同：prod/*.zip"),
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
            Localized("The cursor is not one that we gave out", "cursor 无效"),
            Localized("Take next_cursor from the page before.", "请使用上一页返回的 next_cursor。"),
        )
    return id_
