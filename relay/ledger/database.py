"""Opens the database and hands out connections; each use is a transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Table,
    func,
    literal,
    make_url,
    select,
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from relay.config.globs import compile_glob
from relay.errors import ConfigError
from relay.ledger.errors import LedgerUnavailable, translate, translate_errors, unavailable
from relay.ledger.group_commit import BUSY_WAIT, GroupCommitter, T, Work
from relay.ledger.postgresql import open_postgresql
from relay.ledger.sqlite import SETTING, WAIT, FairLock, open_sqlite
from relay.ledger.types import AnyText
from relay.model import Localized

Insert = sqlite.Insert | postgresql.Insert
LockName = tuple[str, ...]

CHANNEL = "relay"
"""The LISTEN channel of PostgreSQL on which processes announce new deliveries to each other."""

# unnest() returns the numbers in the order of the array, so the locks are taken in that order.
_LOCK_EACH = text("SELECT pg_advisory_xact_lock(n) FROM unnest(CAST(:numbers AS bigint[])) n")
_SHORT_LOCK_TIMEOUT = text(f"SET LOCAL lock_timeout = '{BUSY_WAIT * 1000:.0f}ms'")

# hide_parameters: errors reach the logs, and parameters hold what senders sent.
_POOL = {"pool_size": 40, "max_overflow": 24, "pool_timeout": WAIT, "hide_parameters": True}


class Database:
    """A SQLAlchemy engine, shared by all threads of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._write_lock = FairLock()
        self._writer = GroupCommitter(self.write)
        self._inserts: dict[Table, Insert] = {}
        self._upserts: dict[Table, Insert] = {}
        self._is_blocked = False

    @classmethod
    def open(cls, url: str) -> Database:
        """Create the engine, and the directory of a SQLite file; connect at first use.

        Raises ConfigError for an unsupported database, a missing driver, or SQLite in memory.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            # Not chained: the original error repeats the URL, which may hold a password.
            raise _unsupported() from None
        if parsed.drivername == "sqlite":
            return cls(open_sqlite(parsed, _POOL))
        if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return cls(open_postgresql(parsed, _POOL))
        raise _unsupported()

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        path = self._engine.url.database
        return Path(path) if self.is_sqlite and path else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Yield a connection for reading."""
        with translate_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, wait: float = WAIT) -> Iterator[Connection]:
        """Yield a connection in a transaction; commit at the end, roll back on any error.

        Raises LedgerUnavailable if the write lock is not free within `wait` seconds.
        """
        deadline = monotonic() + wait
        with self._process_lock(wait), translate_errors(), self._engine.connect() as connection:
            remaining = max(deadline - monotonic(), 0.0)
            connection.execution_options(relay_writes=True, relay_wait=remaining)
            with connection.begin():
                yield connection

    def write_grouped(self, work: Work[T], wait: float = WAIT) -> T:
        """Run `work` in a transaction and return the result.

        On SQLite, concurrent calls share a commit; see GroupCommitter.do.
        """
        if self.is_sqlite:
            return self._writer.do(work, wait)
        try:
            with self.write(wait) as connection:
                if self._is_blocked:
                    connection.execute(_SHORT_LOCK_TIMEOUT)
                result = work(connection)
        except LedgerUnavailable as error:
            self._is_blocked = error.code == "store.locked"
            raise
        self._is_blocked = False
        return result

    def advisory_lock(self, connection: Connection, *name: str) -> None:
        """Take the lock of this name until the transaction ends.

        Only PostgreSQL needs it: SQLite has a single writer.
        """
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_lock_number(name))))

    def advisory_locks(self, connection: Connection, names: Iterable[LockName]) -> None:
        """Take several locks by a single statement, in the given order."""
        numbers = [] if self.is_sqlite else [_lock_number(name) for name in names]
        if numbers:
            connection.execute(_LOCK_EACH, {"numbers": numbers})

    def notify_workers(self, connection: Connection) -> None:
        """Wake all listening processes once this transaction is committed."""
        if not self.is_sqlite:
            connection.execute(text(f"NOTIFY {CHANNEL}"))

    @contextmanager
    def raw_connection(self) -> Iterator[Any]:
        """Yield a psycopg connection in autocommit mode; it is closed afterwards."""
        driver: Any = self._engine.dialect.dbapi
        try:
            with translate_errors():
                connection = self._engine.raw_connection()
                raw: Any = connection.driver_connection
                connection.detach()
            with closing(raw):
                raw.autocommit = True
                yield raw
        except driver.Error as error:  # SQLAlchemy does not translate those of a raw connection
            raise translate(str(error)) from error

    def insert(self, table: Table) -> Insert:
        """Return an INSERT with ON CONFLICT, which standard SQL does not have."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def insert_new(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
        """Insert a row unless the key exists. Returns whether it was inserted."""
        insert = self._inserts.get(table)
        if insert is None:
            # Without the option, PostgreSQL loses the row count: nothing would count as new.
            insert = self.insert(table).on_conflict_do_nothing()
            insert = self._inserts[table] = insert.execution_options(preserve_rowcount=True)
        return connection.execute(insert, row).rowcount == 1

    def insert_all_new(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        """Insert the rows whose key `id` does not exist. Returns the inserted ids."""
        if self.is_sqlite or len(rows) < 2:
            return {row["id"] for row in rows if self.insert_new(connection, table, row)}
        insert = self.insert(table).on_conflict_do_nothing().returning(table.c.id)
        return set(connection.execute(insert, rows).scalars())

    def insert_all(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Insert rows whose key is `id`, with few statements."""
        # RETURNING makes SQLAlchemy send all rows in a single statement, so that the
        # statement-level trigger of PostgreSQL runs once.
        batched = len(rows) > 1 and not self.is_sqlite
        insert = table.insert().returning(table.c.id) if batched else table.insert()
        connection.execute(insert, rows)

    def upsert(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
        """Insert a row or replace the row with the same key; `row` must have all columns."""
        upsert = self._upserts.get(table)
        if upsert is None:
            insert, key = self.insert(table), [*table.primary_key]
            changed = {
                column.name: insert.excluded[column.name] for column in table.c if column not in key
            }
            upsert = insert.on_conflict_do_update(index_elements=key, set_=changed)
            self._upserts[table] = upsert
        connection.execute(upsert, row)

    def matches(self, column: Column[str], glob: str) -> ColumnElement[bool]:
        """Return the condition that a column matches a glob. Raises ValueError for a bad glob."""
        pattern = compile_glob(glob).pattern
        if self.is_sqlite:
            return func.relay_glob(column, literal(glob, AnyText()), type_=Boolean())
        # PostgreSQL's regular expressions do not backtrack, and have no atomic groups.
        return column.regexp_match(f"^(?:{pattern.replace('(?>', '(?:')})$")

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _process_lock(self, wait: float) -> Iterator[None]:
        # SQLite's writers poll for the lock with growing sleeps; queueing within the process first
        # keeps the threads of a burst from starving each other.
        if not self.is_sqlite:
            yield
            return
        if not self._write_lock.acquire(wait):
            raise unavailable("locked", "other threads wrote all the time", "其他线程一直在写入")
        try:
            yield
        finally:
            self._write_lock.release()


class LedgerPart:
    """Base class of the parts of Ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database


def _lock_number(name: LockName) -> int:
    encoded = "\0".join(name).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(encoded).digest()[:8], "big", signed=True)


def _unsupported() -> ConfigError:
    return ConfigError(
        SETTING,
        Localized("Relay does not support this database", "Relay 不支持该数据库"),
        Localized(
            "Use sqlite:///var/relay.db or postgresql://user@host/name.",
            "请使用 sqlite:///var/relay.db 或 postgresql://user@host/name。",
        ),
    )
