"""Runs Alembic."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from relay.errors import ConfigError
from relay.model import Localized


def upgrade(connection: Connection) -> None:
    """Upgrade the tables to the newest version, in the transaction of `connection`.

    Raises ConfigError if their version is unknown.
    """
    # Alembic takes long to import, and nearly every start has nothing to migrate.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415
    from alembic.migration import MigrationContext  # noqa: PLC0415
    from alembic.script import ScriptDirectory  # noqa: PLC0415

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
