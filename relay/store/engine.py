"""Opens the database and lends its connections: one transaction each, errors in our words."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

from sqlalchemy import (
    URL,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    literal,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError, StatementError

from relay.errors import ConfigError
from relay.globs import compile_glob
from relay.model import Text
from relay.store.errors import StoreUnavailable
from relay.store.schema import AnyText
from relay.store.turn import Turn

WAIT = 2.0
"""Seconds a transaction waits for others to finish; then the sender hears 503 and asks again."""

_NAP = 0.0005, 0.003
_SETTING = "database.url"
_FIXED_WAL = (3, 51, 3)
"""SQLite before this may corrupt a WAL that two connections write and checkpoint at once."""

Insert = sqlite.Insert | postgresql.Insert


class Database:
    """One engine, shared by all threads of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._turn = Turn()

    @classmethod
    def open(cls, url: str) -> Database:
        """Makes the engine, and the directory of a SQLite file; connects to nothing yet.

        Raises ConfigError: no such database, a driver is missing, or memory only.
        """
        try:
            parsed = make_url(url)
        except ArgumentError:
            # Not from the error: it repeats the URL, which may hold a password.
            raise _unknown_database() from None
        if parsed.drivername == "sqlite":
            return cls(_open_sqlite(parsed))
        if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return cls(_open_postgresql(parsed))
        raise _unknown_database()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database and changes nothing."""
        with _translated(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, wait: float = WAIT) -> Iterator[Connection]:
        """A transaction: committed at the end, or nothing of it happened.

        Raises StoreUnavailable when the others do not let it in within `wait` seconds.
        """
        end = monotonic() + wait
        with self._turn_to_write(wait), _translated(), self._engine.connect() as connection:
            left = max(end - monotonic(), 0.0)
            connection.execution_options(relay_writes=True, relay_wait=left)
            with connection.begin():
                yield connection

    def alone(self, connection: Connection, *names: str) -> None:
        """Until the transaction ends, no other is in here under these names.

        A SQLite transaction that writes is alone anyway.
        """
        if not self.is_sqlite:
            words = "\0".join(names).encode("utf-8", "surrogatepass")
            number = int.from_bytes(hashlib.sha256(words).digest()[:8], "big", signed=True)
            connection.execute(select(func.pg_advisory_xact_lock(number)))

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT, which standard SQL does not."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def matches(self, column: Column[str], glob: str) -> ColumnElement[bool]:
        """Whether a column matches a glob as in routes. ValueError says what is wrong with it."""
        pattern = compile_glob(glob).pattern
        if self.is_sqlite:
            return func.relay_glob(column, literal(glob, AnyText()), type_=Boolean())
        # PostgreSQL's engine never goes back, so it neither has nor needs atomic groups.
        return column.regexp_match(f"^(?:{pattern.replace('(?>', '(?:')})$")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _turn_to_write(self, wait: float) -> Iterator[None]:
        # SQLite lets its writers in by polling with growing naps; queueing within the process
        # first keeps a burst of threads from starving each other.
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(wait):
            raise _unavailable("locked", "other threads wrote all the time", "其他线程一直在写入")
        try:
            yield
        finally:
            self._turn.release()


class Part:
    """What every part of the Store stands on."""

    def __init__(self, database: Database) -> None:
        self._database = database


def journal_mode(version: tuple[int, ...]) -> str:
    """The journal mode that is safe with this version of SQLite."""
    return "WAL" if version >= _FIXED_WAL else "TRUNCATE"


def _open_sqlite(url: URL) -> Engine:
    if not url.database or url.database == ":memory:" or url.query:
        raise ConfigError(
            _SETTING,
            Text(
                "This SQLite database would not outlive the process", "该 SQLite 数据库无法持久保存"
            ),
            Text(
                "Name a file: sqlite:///var/relay.db, or sqlite:////srv/relay.db for a full path.",
                "请指定文件: sqlite:///var/relay.db, 绝对路径写作 sqlite:////srv/relay.db。",
            ),
        )
    path = Path(url.database).absolute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            _SETTING,
            Text(
                f"The directory {path.parent} cannot be made ({error.strerror})",
                f"无法创建目录 {path.parent}({error.strerror})",
            ),
        ) from error
    engine = create_engine(url.set(database=str(path)), **_pool(), connect_args={"timeout": WAIT})
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgresql(url: URL) -> Engine:
    try:
        return create_engine(
            url.set(drivername="postgresql+psycopg"), **_pool(), pool_pre_ping=True
        )
    except ModuleNotFoundError as error:
        raise ConfigError(
            _SETTING,
            Text("PostgreSQL needs the Python package psycopg", "使用 PostgreSQL 需要 psycopg"),
            Text('Run: pip install "psycopg[binary]"', '请运行: pip install "psycopg[binary]"'),
        ) from error


def _pool() -> dict[str, Any]:
    # hide_parameters: errors reach logs, and parameters are what people sent us.
    return {"pool_size": 40, "max_overflow": 24, "pool_timeout": WAIT, "hide_parameters": True}


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
    lent.execute("PRAGMA busy_timeout=0" if options.get("relay_writes") else _patience(wait))
    if options.get("relay_writes"):
        # A transaction that reads first and then writes cannot wait for its turn: it must fail.
        _begin_to_write(lent, monotonic() + wait)
        lent.execute(_patience(wait))
    else:
        lent.execute("BEGIN")


def _begin_to_write(lent: sqlite3.Connection, end: float) -> None:
    # SQLite's own waiting naps for up to 100 ms, and busy processes pass a napping one by.
    while True:
        try:
            lent.execute("BEGIN IMMEDIATE")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > end:
                raise
        sleep(random.uniform(*_NAP))  # noqa: S311 - no secret


def _patience(seconds: float) -> str:
    return f"PRAGMA busy_timeout={int(seconds * 1000)}"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        raise _in_words(str(error.orig)) from error
    except StatementError as error:
        # A value that cannot be bound is a bug of ours, not trouble with the database.
        raise (error.orig or error) from error
    except SQLAlchemyError as error:
        raise _in_words(type(error).__name__) from error
    except sqlite3.Error as error:
        raise _in_words(str(error)) from error


_WORDS: tuple[tuple[str, str, str, str], ...] = (
    ("locked", "locked", "another process holds it", "被其他进程占用"),
    ("disk is full", "full", "the disk is full", "磁盘已满"),
    ("readonly", "readonly", "it may only be read", "只读, 无法写入"),
    ("no such table", "unmigrated", "it has no tables yet: run `relay migrate`", "尚未建表"),
)


def _in_words(said: str) -> StoreUnavailable:
    for sign, code, en, zh in _WORDS:
        if sign in said:
            return _unavailable(code, en, zh)
    short = said.partition("\n")[0][:200]
    return _unavailable("unavailable", short, short)


def _unavailable(code: str, en: str, zh: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"store.{code}",
        Text(f"The database cannot be used now: {en}", f"数据库暂不可用: {zh}"),
        Text("Nothing was changed; ask again.", "未做任何更改, 请稍后重试。"),
        retry_after=timedelta(seconds=5),
    )


def _unknown_database() -> ConfigError:
    return ConfigError(
        _SETTING,
        Text("This is no database that Relay knows", "Relay 不支持该数据库"),
        Text(
            "Use sqlite:///var/relay.db or postgresql://user@host/name.",
            "请使用 sqlite:///var/relay.db 或 postgresql://user@host/name。",
        ),
    )
