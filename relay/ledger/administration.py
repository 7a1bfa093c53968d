"""Migrates the tables to the newest version; processes wait for each other."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from time import monotonic

from sqlalchemy import Connection, inspect, text

from relay.ledger.database import LedgerPart
from relay.ledger.errors import LedgerUnavailable
from relay.ledger.upgrade import upgrade
from relay.model import Localized

VERSIONS = Path(__file__).parent / "migrations" / "versions"

_WAIT = 60.0
"""Seconds to wait for another process that migrates."""


class Administration(LedgerPart):
    """Creates and checks the tables."""

    def migrate(self) -> None:
        """Create or upgrade the tables; do nothing if they have the newest version.

        Any number of processes may call it at the same time. Raises ConfigError if a newer Relay
        wrote the database, LedgerUnavailable if another process holds it.
        """
        deadline = monotonic() + _WAIT
        while True:
            try:
                return self._migrate()
            except LedgerUnavailable as error:
                # PostgreSQL ends one of two transactions that wait for each other: here, ours and
                # that of an older Relay, which is at work.
                is_deadlock = error.code == "store.locked" and not self._database.is_sqlite
                if not is_deadlock or monotonic() > deadline:
                    raise

    def _migrate(self) -> None:
        # A single transaction: waiting processes see the finished tables, and a process that is
        # killed leaves the previous tables.
        with self._database.write(_WAIT) as connection:
            if not self._database.is_sqlite:  # another process may take long to migrate
                connection.execute(text("SET LOCAL lock_timeout = 0"))
            self._database.advisory_lock(connection, "migrate")
            if not _has_newest_version(connection):
                upgrade(connection)

    def ping(self) -> None:
        """Check that the database can be written to. Raises LedgerUnavailable."""
        with self._database.write() as connection:
            same = text("UPDATE alembic_version SET version_num = version_num")
            if connection.execute(same).rowcount != 1:
                raise LedgerUnavailable(
                    "store.unmigrated",
                    Localized("The database has no tables yet", "数据库尚未建表"),
                    Localized("Run `relay migrate`.", "请运行 `relay migrate`。"),
                )


@cache
def newest_version() -> str:
    """Return the newest version of the tables: the number of the last migration file."""
    return max(file.name[1:5] for file in VERSIONS.glob("v[0-9]*.py"))


def _has_newest_version(connection: Connection) -> bool:
    if not inspect(connection).has_table("alembic_version"):
        return False
    query = text("SELECT version_num FROM alembic_version")
    return bool(connection.execute(query).scalar() == newest_version())
