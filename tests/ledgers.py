"""New databases for tests: migrated once per process, then copied, which is ten times faster.

A test that uses `ledger` or `ledger_url` runs on each engine.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest

from relay.ledger import Ledger
from relay.ledger.schema import metadata
from tests.postgresql import Server

ENGINES = ("sqlite", "postgresql")


def new_ledger(path: Path) -> str:
    """Create a SQLite file with empty tables, and return the URL."""
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.db"
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


class DatabasePool:
    """PostgreSQL databases with empty tables.

    Used databases are emptied and reused, which is ten times faster than creating new ones.
    """

    MAX_ROWS = 5_000
    """Rows deleted from a database before it is dropped: bloat changes query plans and sizes."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._template = server.create()
        _migrate(self._template)
        with psycopg.connect(self._template) as connection:
            self._fingerprint = _fingerprint(connection)
        self._free: list[str] = []
        self._deleted_rows: Counter[str] = Counter()

    def acquire(self) -> str:
        """Return the URL of a database for exclusive use."""
        if self._free:
            return self._free.pop()
        return self._server.create(self._template.rpartition("/")[2])

    def release(self, url: str) -> None:
        """Empty a database for reuse; drop it after schema changes or too many deleted rows."""
        rows = _empty(url, self._fingerprint)
        if rows is not None and self._deleted_rows[url] + rows <= self.MAX_ROWS:
            self._deleted_rows[url] += rows
            self._free.append(url)
        else:
            self._server.drop(url)


Fingerprint = tuple[str, int, int, int, int]
"""The version, and numbers that change with any table, column or index."""


def _fingerprint(connection: psycopg.Connection[Any]) -> Fingerprint:
    row = connection.execute(
        "SELECT (SELECT max(version_num) FROM alembic_version), "
        "count(*), max(oid)::bigint, sum(relnatts), sum(relfilenode::bigint) FROM pg_class"
    ).fetchone()
    assert row is not None
    fingerprint: Fingerprint = row
    return fingerprint


def _empty(url: str, expected: Fingerprint) -> int | None:
    """Delete all rows. Returns their number, or None if the schema was changed."""
    name = url.rpartition("/")[2]
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"{others} AND datname = '{name}'")  # type: ignore[arg-type]
            # Disables foreign keys and the triggers that count.
            connection.execute("SET session_replication_role = replica")
            deleted = [connection.execute(f"DELETE FROM {table}") for table in metadata.tables]  # type: ignore[arg-type]
            is_unchanged = _fingerprint(connection) == expected
        return sum(cursor.rowcount for cursor in deleted) if is_unchanged else None
    except psycopg.Error:
        return None


@pytest.fixture(scope="session")
def database_pool(postgresql: Server) -> DatabasePool:
    return DatabasePool(postgresql)


@pytest.fixture(params=ENGINES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new database with tables, on each engine."""
    yield from ledger_of_engine(request, tmp_path)


def ledger_of_engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Yield the URL of a database with empty tables, on the engine that `request.param` names."""
    if request.param == "sqlite":
        yield new_ledger(tmp_path / "relay.db")
        return
    pool: DatabasePool = request.getfixturevalue("database_pool")
    url = pool.acquire()
    yield url
    pool.release(url)


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """A new ledger, on each engine."""
    ledger = Ledger.open(ledger_url)
    yield ledger
    ledger.close()


def _migrate(url: str) -> None:
    ledger = Ledger.open(url)
    ledger.administration.migrate()
    ledger.close()
