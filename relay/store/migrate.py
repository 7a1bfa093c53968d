"""Brings the database's tables to the newest version, one process at a time."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from relay.errors import ConfigError
from relay.model import Text
from relay.store.engine import Part
from relay.store.errors import StoreUnavailable

_WAIT = 60.0
"""Seconds to wait for another process that migrates."""


class Migrations(Part):
    """The tables themselves."""

    def migrate(self) -> None:
        """Makes or upgrades the tables; does nothing when they are at the newest version.

        Safe in any number of processes at once. Raises ConfigError when the database was written
        by a newer Relay, StoreUnavailable when another process holds it.
        """
        config = Config()
        folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
        config.set_main_option("script_location", folder)
        scripts = ScriptDirectory.from_config(config)
        # All in one transaction: who waited for it sees the finished tables, and a process that
        # is killed in the middle leaves what was there before.
        with self._database.write(_WAIT) as connection:
            if not self._database.is_sqlite:  # another process may migrate for long
                connection.execute(text("SET LOCAL lock_timeout = 0"))
            self._database.alone(connection, "migrate")
            current = MigrationContext.configure(connection).get_current_revision()
            if current == scripts.get_current_head():
                return
            if current is not None:
                _refuse_newer(scripts, current)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    def ping(self) -> None:
        """Raises StoreUnavailable unless the database can be written now, to the disk."""
        with self._database.write() as connection:
            _write_something(connection)


def _write_something(connection: Connection) -> None:
    same = text("UPDATE alembic_version SET version_num = version_num")
    if connection.execute(same).rowcount != 1:
        raise StoreUnavailable(
            "store.unmigrated",
            Text("The database has no tables yet", "数据库尚未建表"),
            Text("Run `relay migrate`.", "请运行 `relay migrate`。"),
        )


def _refuse_newer(scripts: ScriptDirectory, current: str) -> None:
    if current in {script.revision for script in scripts.walk_revisions()}:
        return
    raise ConfigError(
        "database.url",
        Text(
            f"The database was written by a newer Relay (its version is {current})",
            f"数据库由更新版本的 Relay 写入（版本 {current}）",
        ),
        Text(
            "Run that Relay, or name another database.", "请使用新版本的 Relay，或改用其他数据库。"
        ),
    )
