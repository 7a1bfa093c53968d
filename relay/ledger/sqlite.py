"""Opens SQLite files, begins their transactions, and queues the writers of a process."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections import deque
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
"""Seconds that a transaction waits for others; then the sender gets a 503 and repeats."""

_NAP = 0.0005, 0.003
_FIXED_WAL = (3, 51, 3)
"""Older versions may corrupt a WAL that two connections write and checkpoint at the same time."""


def journal_mode(version: tuple[int, ...]) -> str:
    """Return the journal mode that is safe with this version of SQLite."""
    return "WAL" if version >= _FIXED_WAL else "TRUNCATE"


def open_sqlite(url: URL, pool: dict[str, Any]) -> Engine:
    """Return an engine for a file, and create the directory. Raises ConfigError."""
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
                f"The directory {path.parent} cannot be created ({error.strerror})",
                f"无法创建目录 {path.parent}（{error.strerror}）",
            ),
        ) from error
    engine = create_engine(url.set(database=str(path)), **pool, connect_args={"timeout": WAIT})
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: sqlite3.Connection, _record: object) -> None:
    # _begin() begins transactions; the driver would begin them too late.
    connection.isolation_level = None
    mode = journal_mode(sqlite3.sqlite_version_info)
    current = connection.execute("PRAGMA journal_mode").fetchone()[0]
    if mode == "WAL" and current.upper() != mode:
        # The mode belongs to the file. If another connection sets it first, this may fail.
        with suppress(sqlite3.OperationalError):
            connection.execute("PRAGMA journal_mode=WAL")
    elif mode != "WAL":
        connection.execute(f"PRAGMA journal_mode={mode}")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.create_function("relay_glob", 2, _matches, deterministic=True)


def _matches(text: str, glob: str) -> bool:
    return compile_glob(glob).fullmatch(text) is not None


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    wait = options.get("relay_wait", WAIT)
    raw = cast("sqlite3.Connection", connection.connection.driver_connection)
    if options.get("relay_writes"):
        _begin_immediate(raw, monotonic() + wait)
    raw.execute(f"PRAGMA busy_timeout={int(wait * 1000)}")
    if not options.get("relay_writes"):
        raw.execute("BEGIN")


def _begin_immediate(raw: sqlite3.Connection, deadline: float) -> None:
    # SQLite's own busy handler sleeps for up to 100 ms, and a busy process overtakes a sleeper.
    raw.execute("PRAGMA busy_timeout=0")
    while True:
        try:
            # Not plain BEGIN: a transaction that reads first and then writes fails with "locked".
            raw.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
        sleep(random.uniform(*_NAP))  # noqa: S311 - no secret


class FairLock:
    """A lock that wakes waiting threads in the order in which they arrived.

    threading.Lock wakes them in any order, so that a thread may starve.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiters: deque[threading.Event] = deque()
        self._locked = False

    def acquire(self, timeout: float) -> bool:
        """Wait for the lock. Returns False if the timeout (in seconds) passes first."""
        with self._lock:
            if not self._locked:
                self._locked = True
                return True
            waiter = threading.Event()
            self._waiters.append(waiter)
        if waiter.wait(timeout):
            return True
        with self._lock:
            if waiter.is_set():  # the lock was handed over just after the timeout
                return True
            self._waiters.remove(waiter)
            return False

    def release(self) -> None:
        """Hand the lock to the longest waiting thread, if any."""
        with self._lock:
            if self._waiters:
                self._waiters.popleft().set()
            else:
                self._locked = False
