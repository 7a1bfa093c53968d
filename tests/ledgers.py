"""New ledgers: migrated once in this process, and copied since, which takes a tenth as long.

A test that asks for `store`, or for the address of one, runs on each engine.
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
    """The URL of a new ledger in that file of SQLite: every table is there, and empty."""
    path.write_bytes(_migrated())
    return f"sqlite:///{path}"


@cache
def _migrated() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "relay.db"
        _migrate(f"sqlite:///{path}")
        return path.read_bytes()


class Spares:
    """Databases of PostgreSQL with every table, and nothing in them: what a test has filled is
    emptied for the next one, which takes a tenth of what making one does."""

    MOST = 5_000
    """Rows that came and went; where there were more, plans and sizes begin to tell of them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._template = server.create()
        _migrate(self._template)
        with psycopg.connect(self._template) as connection:
            self._made = _made(connection)
        self._spare: list[str] = []
        self._gone: Counter[str] = Counter()

    def take(self) -> str:
        """The address of one that is nobody else's."""
        if self._spare:
            return self._spare.pop()
        return self._server.create(self._template.rpartition("/")[2])

    def give_back(self, url: str) -> None:
        """It is emptied; one whose tables or version were changed goes, and a worn one."""
        rows = _emptied(url, self._made)
        if rows is not None and self._gone[url] + rows <= self.MOST:
            self._gone[url] += rows
            self._spare.append(url)
        else:
            self._server.drop(url)


Made = tuple[str, int, int, int, int]
"""The version, and what changes with any table, column or index, or when they are made anew."""


def _made(connection: psycopg.Connection[Any]) -> Made:
    row = connection.execute(
        "SELECT (SELECT max(version_num) FROM alembic_version), "
        "count(*), max(oid)::bigint, sum(relnatts), sum(relfilenode::bigint) FROM pg_class"
    ).fetchone()
    assert row is not None
    made: Made = row
    return made


def _emptied(url: str, made: Made) -> int | None:
    """How many rows were deleted; none: its tables are not as they were made."""
    name = url.rpartition("/")[2]
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(f"{others} AND datname = '{name}'")  # type: ignore[arg-type]
            # In any order, and with nothing counted.
            connection.execute("SET session_replication_role = replica")
            deleted = [connection.execute(f"DELETE FROM {table}") for table in metadata.tables]  # type: ignore[arg-type]
            same = _made(connection) == made
        return sum(one.rowcount for one in deleted) if same else None
    except psycopg.Error:
        return None


@pytest.fixture(scope="session")
def spares(postgresql: Server) -> Spares:
    return Spares(postgresql)


@pytest.fixture(params=ENGINES)
def ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a new ledger, on each engine."""
    yield from lent(request, tmp_path)


def lent(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of an empty ledger of the engine that the parameter names, for one test."""
    if request.param == "sqlite":
        yield new_ledger(tmp_path / "relay.db")
        return
    spares: Spares = request.getfixturevalue("spares")
    url = spares.take()
    yield url
    spares.give_back(url)


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
