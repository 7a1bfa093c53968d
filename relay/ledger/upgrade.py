"""Runs Alembic; imported only if there is something to migrate."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from relay.errors import ConfigError
from relay.model import Localized


def upgrade(connection: Connection) -> None:
    """Upgrade the tables to the newest version, in the transaction of `connection`.

    Raises ConfigError if their version is unknown.
    """
    config = Config()
    folder = str(Path(__file__).parent / "migrations").replace("%", "%%")
    config.set_main_option("script_location", folder)
    current = MigrationContext.configure(connection).get_current_revision()
    scripts = ScriptDirectory.from_config(config).walk_revisions()
    if current is not None and current not in {script.revision for script in scripts}:
        raise ConfigError(
            "database.url",
            Localized(
                f"The database was written by a newer Relay (its version is {current})",
                f"数据库由更新版本的 Relay 写入（版本 {current}）",
            ),
            Localized(
                "Run that Relay, or use another database.",
                "请使用新版本的 Relay，或改用其他数据库。",
            ),
        )
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
