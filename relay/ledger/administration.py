"""Brings the database's tables to the newest version, one process at a time."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import Connection, inspect, text

from relay.ledger.database import LedgerPart
from relay.ledger.errors import LedgerUnavailable
from relay.model import Localized

VERSIONS = Path(__file__).parent / "migrations" / "versions"

_WAIT = 60.0
"""Seconds to wait for another process that migrates."""


class Administration(LedgerPart):
    """The tables themselves."""

    def migrate(self) -> None:
        """Makes or upgrades the tables; does nothing when they are at the newest version.

        Safe in any number of processes at once. Raises ConfigError when the database was written
        by a newer Relay, StoreUnavailable when another process holds it.
        """
        # All in one transaction: who waited for it sees the finished tables, and a process that
        # is killed in the middle leaves what was there before.
        with self._database.write(_WAIT) as connection:
            if not self._database.is_sqlite:  # another process may migrate for long
                connection.execute(text("SET LOCAL lock_timeout = 0"))
            self._database.advisory_lock(connection, "migrate")
            if _version(connection) != newest():
                # Alembic takes long to import, and nearly every start finds nothing to do.
                from relay.ledger.upgrade import upgrade  # noqa: PLC0415

                upgrade(connection)

    def ping(self) -> None:
        """Raises StoreUnavailable unless the database can be written now, to the disk."""
        with self._database.write() as connection:
            _write_something(connection)


def _write_something(connection: Connection) -> None:
    same = text("UPDATE alembic_version SET version_num = version_num")
    if connection.execute(same).rowcount != 1:
        raise LedgerUnavailable(
            "store.unmigrated",
            Localized("The database has no tables yet", "数据库尚未建表"),
            Localized("Run `relay migrate`.", "请运行 `relay migrate`。"),
        )


@cache
def newest() -> str:
    """The version of the tables that this Relay makes: the last file's number."""
    return max(file.name[1:5] for file in VERSIONS.glob("v[0-9]*.py"))


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version
