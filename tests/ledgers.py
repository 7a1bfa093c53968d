"""New ledgers: migrated once in this process, and copied since, which takes a tenth as long."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from relay.store import Store
from tests.postgresql import Server


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


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: Server) -> Iterator[str]:
    """The name of a database with every table, to be a template."""
    url = postgresql.create()
    _migrate(url)
    yield url.rpartition("/")[2]
    postgresql.drop(url)


def _migrate(url: str) -> None:
    store = Store.open(url)
    store.migrate()
    store.close()
