"""SQLite: how its file is opened, and how its transactions begin."""

from __future__ import annotations

import random
import sqlite3
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event

from relay.config.globs import compile_glob
from relay.errors import ConfigError
from relay.model import Localized

SETTING = "database.url"
WAIT = 2.0
"""Seconds a transaction waits for others to finish; then the sender hears 503 and asks again."""

_NAP = 0.0005, 0.003
_FIXED_WAL = (3, 51, 3)
"""SQLite before this may corrupt a WAL that two connections write and checkpoint at once."""


def journal_mode(version: tuple[int, ...]) -> str:
    """The journal mode that is safe with this version of SQLite."""
    return "WAL" if version >= _FIXED_WAL else "TRUNCATE"


def open_sqlite(url: URL, pool: dict[str, Any]) -> Engine:
    """An engine over one file, whose directory is made. Raises ConfigError."""
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(
            SETTING,
            Localized(
                "This SQLite database would not outlive the process", "该 SQLite 数据库无法持久保存"
            ),
            Localized(
                "Name a file: sqlite:///var/relay.db, or sqlite:////srv/relay.db for a full path.",
                "请指定文件：sqlite:///var/relay.db，绝对路径写作 sqlite:////srv/relay.db。",
            ),
        )
    path = Path(url.database).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            SETTING,
            Localized(
                f"The directory {path.parent} cannot be made ({error.strerror})",
                f"无法创建目录 {path.parent}({error.strerror})",
            ),
        ) from error
    engine = create_engine(url.set(database=str(path)), **pool, connect_args={"timeout": WAIT})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # Transactions are begun by _begin_sqlite; the driver would begin them later than we ask.
    connection.isolation_level = None
    mode = journal_mode(sqlite3.sqlite_version_info)
    current = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "WAL" and current.upper() != mode:
        # The mode is the file's: whoever comes first sets it, and it is safe not to be first.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
    elif mode != "WAL":
        connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.create_function("relay_glob", 2, _matches, deterministic=True)


def _matches(text: str, glob: str) -> bool:
    return compile_glob(glob).fullmatch(text) is not None


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    wait = options.get("relay_wait", WAIT)
    lent = cast("sqlite3.Connection", connection.connection.driver_connection)
    if options.get("relay_writes"):
        _begin_to_write(lent, monotonic() + wait)
    lent.execute(f"PRAGMA busy_timeout={int(wait * 1000)}")
    if not options.get("relay_writes"):
        lent.execute("BEGIN")


def _begin_to_write(lent: sqlite3.Connection, end: float) -> None:
    # SQLite's own waiting naps for up to 100 ms, and busy processes pass a napping one by.
    lent.execute("PRAGMA busy_timeout=0")
    while True:
        try:
            # Not plain BEGIN: what read first and then writes cannot wait for its turn, it fails.
            lent.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
        sleep(random.uniform(*_NAP))  # noqa: S311 - no secret
