"""Reads the ledger with separate SQL, so that a bug in Relay cannot hide a violation."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

OPEN = ("pending", "running")
_DELIVERIES = """
select d.id, d.kind, d.state, d.key, d.version, d.reason, d.error, d.result, d.destination,
       d.attempts, d.created, d.finished, d.due, d.parent, d.event_id, e.etag, d.message
from deliveries d left join events e on e.id = d.event_id order by d.id
"""
BROKEN = (sqlite3.Error, psycopg.Error)


@dataclass(frozen=True, slots=True)
class Row:
    """A stored delivery. Times are seconds since 1970."""

    id: str
    kind: str
    state: str
    key: str
    version: str | None
    reason: str | None
    error: str | None
    result: dict[str, Any]
    destination: str
    attempts: int
    created: float
    finished: float | None
    due: float | None
    parent: str | None
    event_id: str | None
    etag: str | None
    message: str | None

    @property
    def name(self) -> tuple[str, str]:
        """The upload of this delivery; see record.Upload.name."""
        return self.key, self.version or self.etag or ""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


class Ledger:
    """A database, by URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._remembered: dict[str, Row] = {}

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Run a query. Raises one of BROKEN."""
        with self._connection() as connection:
            return list(connection.execute(query).fetchall())

    def counts(self) -> dict[tuple[str, str], int]:
        """Count deliveries by kind and state. Returns {} while the database is unavailable."""
        query = "select kind, state, count(*) from deliveries group by kind, state"
        try:
            return {(kind, state): number for kind, state, number in self.rows(query)}
        except BROKEN:
            return {}

    def deliveries(self, kind: str | None = None) -> list[Row]:
        """Return the stored deliveries, and those that `remember` saw before they were deleted."""
        rows = (self._remembered | self._stored()).values()
        return [row for row in rows if kind in (None, row.kind)]

    def remember(self) -> None:
        """Keep the stored deliveries for the check, before retention deletes them."""
        self._remembered |= self._stored()

    def _stored(self) -> dict[str, Row]:
        return {row.id: row for row in (_row(*values) for values in self.rows(_DELIVERIES))}

    def count(self, table: str) -> int:
        return int(self.rows(f"select count(*) from {table}")[0][0])

    def intact(self) -> bool:
        """Run the integrity check of SQLite. On PostgreSQL, only check that it responds."""
        if self.is_sqlite:
            return self.rows("pragma integrity_check") == [("ok",)]
        return bool(self.rows("select 1"))

    def texts(self) -> Iterator[bytes]:
        """Yield everything that is stored, to be searched for secrets."""
        if self.is_sqlite:
            yield self.path.read_bytes()
            return
        tables = "select tablename from pg_tables where schemaname = 'public'"
        for (name,) in self.rows(tables):
            for (row,) in self.rows(f"select x::text from {name} x"):
                yield row.encode()

    def bytes(self) -> int:
        if self.is_sqlite:
            return self.path.stat().st_size
        return int(self.rows("select pg_database_size(current_database())")[0][0])

    @contextmanager
    def _connection(self) -> Iterator[Any]:
        if self.is_sqlite:
            uri = f"file:{self.path}?mode=rw"
            with closing(sqlite3.connect(uri, uri=True, timeout=10)) as connection:
                yield connection
        else:
            with psycopg.connect(self.url, connect_timeout=30) as connection:
                yield connection


def _row(*values: Any) -> Row:
    row = list(values)
    error, result = _json(row[6]), _json(row[7])
    row[6], row[7] = error.get("code"), result
    for column in (10, 11, 12):
        row[column] = None if row[column] is None else row[column] / 1e6
    row[16] = _json(row[16]).get("type")
    return Row(*row)


def _json(value: Any) -> dict[str, Any]:
    loaded = json.loads(value) if isinstance(value, str) else value
    return loaded or {}
