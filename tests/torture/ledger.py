"""Reads the ledger by SQL of its own: the judge does not ask the accused."""

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
    """A delivery as it lies there; times in seconds since 1970."""

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
        """Of the upload that it is about; see record.Upload."""
        return self.key, self.version or self.etag or ""

    @property
    def is_open(self) -> bool:
        return self.state in OPEN


class Ledger:
    """One database by its URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._remembered: dict[str, Row] = {}

    @property
    def path(self) -> Path:
        return Path(self.url.removeprefix("sqlite:///"))

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """Raises one of BROKEN."""
        with self._connection() as connection:
            return list(connection.execute(query).fetchall())

    def counts(self) -> dict[tuple[str, str], int]:
        """Deliveries by kind and state; {} while there is no database to ask."""
        query = "select kind, state, count(*) from deliveries group by kind, state"
        try:
            return {(kind, state): number for kind, state, number in self.rows(query)}
        except BROKEN:
            return {}

    def deliveries(self, kind: str | None = None) -> list[Row]:
        """As they lie there, and as they were last seen by `remember` if they lie there no more."""
        every = (self._remembered | self._present()).values()
        return [one for one in every if kind in (None, one.kind)]

    def remember(self) -> None:
        """Keeps what lies there for the judge, before retention takes it."""
        self._remembered |= self._present()

    def _present(self) -> dict[str, Row]:
        return {one.id: one for one in (_row(*row) for row in self.rows(_DELIVERIES))}

    def count(self, table: str) -> int:
        return int(self.rows(f"select count(*) from {table}")[0][0])

    def intact(self) -> bool:
        """SQLite's own check of the file; PostgreSQL answers at all."""
        if self.is_sqlite:
            return self.rows("pragma integrity_check") == [("ok",)]
        return bool(self.rows("select 1"))

    def texts(self) -> Iterator[bytes]:
        """Everything that is stored, to be searched for what must not be."""
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
    for place in (10, 11, 12):
        row[place] = None if row[place] is None else row[place] / 1e6
    row[16] = _json(row[16]).get("type")
    return Row(*row)


def _json(value: Any) -> dict[str, Any]:
    loaded = json.loads(value) if isinstance(value, str) else value
    return loaded or {}
