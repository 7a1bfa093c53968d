"""Opens the database and lends its connections: one transaction each, errors in our words."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

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
    text,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError

from relay.config.globs import compile_glob
from relay.errors import ConfigError
from relay.ledger.errors import LedgerUnavailable, translate, translate_errors, unavailable
from relay.ledger.fair_lock import FairLock
from relay.ledger.group_commit import HELD, GroupCommitter, T, Work
from relay.ledger.sqlite import SETTING, WAIT, open_sqlite
from relay.ledger.types import AnyText
from relay.model import Localized

Insert = sqlite.Insert | postgresql.Insert
Names = tuple[str, ...]

CHANNEL = "relay"
"""PostgreSQL's LISTEN channel on which processes tell each other of new deliveries."""

IDLE = 5000.0
"""Milliseconds that PostgreSQL waits for the next word within a transaction; then it ends it."""


# An array is read from its beginning to its end.
_LOCK_EACH = text("SELECT pg_advisory_xact_lock(one) FROM unnest(CAST(:numbers AS bigint[])) one")
_SOON = text(f"SET LOCAL lock_timeout = '{HELD * 1000:.0f}ms'")

AWAY = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",  # milliseconds
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
"""When a PostgreSQL counts as away that does not answer, as libpq has it; else a worker that was
cut off would wait for minutes and say nothing. What the URL says goes first."""


class Database:
    """One engine, shared by all threads of the process."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._turn = FairLock()
        self._writer = GroupCommitter(self.write)
        self._inserts: dict[Table, Insert] = {}
        self._puts: dict[Table, Insert] = {}
        self._held = False

    @classmethod
    def open(cls, url: str) -> Database:
        """Makes the engine, and the directory of a SQLite file; connects to nothing yet.

        Raises ConfigError: no such database, a driver is missing, or memory only.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            # Not from the error: it repeats the URL, which may hold a password.
            raise _unknown_database() from None
        if parsed.drivername == "sqlite":
            return cls(open_sqlite(parsed, _pool()))
        if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
            return cls(_open_postgresql(parsed))
        raise _unknown_database()

    @property
    def file(self) -> Path | None:
        """Where a SQLite database is."""
        path = self._engine.url.database
        return Path(path) if self.is_sqlite and path else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one state of the database and changes nothing."""
        with translate_errors(), self._engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, wait: float = WAIT) -> Iterator[Connection]:
        """A transaction: committed at the end, or nothing of it happened.

        Raises StoreUnavailable when the others do not let it in within `wait` seconds.
        """
        end = monotonic() + wait
        with self._turn_to_write(wait), translate_errors(), self._engine.connect() as connection:
            left = max(end - monotonic(), 0.0)
            connection.execution_options(relay_writes=True, relay_wait=left)
            with connection.begin():
                yield connection

    def together(self, work: Work[T], wait: float = WAIT) -> T:
        """A transaction of its own on PostgreSQL; on SQLite one that shares its commit with those
        that other threads began at the same time. See Writer.do."""
        if self.is_sqlite:
            return self._writer.do(work, wait)
        try:
            with self.write(wait) as connection:
                if self._held:
                    connection.execute(_SOON)
                done = work(connection)
        except LedgerUnavailable as error:
            self._held = error.code == "store.locked"
            raise
        self._held = False
        return done

    def alone(self, connection: Connection, *names: str) -> None:
        """Until the transaction ends, no other is in here under these names.

        A SQLite transaction that writes is alone anyway.
        """
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_number(names))))

    def alone_with(self, connection: Connection, things: Iterable[Names]) -> None:
        """The same for many names, by one statement, in the order given."""
        numbers = [] if self.is_sqlite else [_number(names) for names in things]
        if numbers:
            connection.execute(_LOCK_EACH, {"numbers": numbers})

    def tell(self, connection: Connection) -> None:
        """Wakes every process that listens, once this transaction is committed."""
        if not self.is_sqlite:
            connection.execute(text(f"NOTIFY {CHANNEL}"))

    @contextmanager
    def lent(self) -> Iterator[Any]:
        """A connection of psycopg's own, outside of any transaction; closed afterwards."""
        driver: Any = self._engine.dialect.dbapi
        try:
            with closing(self._detached()) as own:
                own.autocommit = True
                yield own
        except driver.Error as error:
            raise translate(str(error)) from error

    def _detached(self) -> Any:
        """A connection taken from the pool for good. The driver's own errors come out of this:
        outside of its connections SQLAlchemy does not translate them."""
        with translate_errors():
            connection = self._engine.raw_connection()
            own: Any = connection.driver_connection
            connection.detach()
        return own

    def insert(self, table: Table) -> Insert:
        """An INSERT that knows ON CONFLICT, which standard SQL does not."""
        return sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)

    def insert_new(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> bool:
        """Inserts a row unless one with its key is there; whether it did."""
        insert = self._inserts.get(table)
        if insert is None:
            # Without the option the count of an INSERT is lost on PostgreSQL: nothing would be new.
            insert = self.insert(table).on_conflict_do_nothing()
            insert = self._inserts[table] = insert.execution_options(preserve_rowcount=True)
        return connection.execute(insert, row).rowcount == 1

    def insert_all_new(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> set[str]:
        """The same for many rows whose key is `id`; the ids of those that were inserted."""
        if self.is_sqlite or len(rows) < 2:
            return {row["id"] for row in rows if self.insert_new(connection, table, row)}
        insert = self.insert(table).on_conflict_do_nothing().returning(table.c.id)
        return set(connection.execute(insert, rows).scalars())

    def insert_all(
        self, connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]]
    ) -> None:
        """Inserts rows whose key is `id`, by few statements."""
        # Only to return something PostgreSQL's rows share a statement, and what its trigger costs.
        shared = len(rows) > 1 and not self.is_sqlite
        insert = table.insert().returning(table.c.id) if shared else table.insert()
        connection.execute(insert, rows)

    def put(self, connection: Connection, table: Table, row: Mapping[str, Any]) -> None:
        """Inserts a row, or changes the one with its key to it; a row of all columns."""
        put = self._puts.get(table)
        if put is None:
            insert, key = self.insert(table), [*table.primary_key]
            others = {one.name: insert.excluded[one.name] for one in table.c if one not in key}
            put = insert.on_conflict_do_update(index_elements=key, set_=others)
            self._puts[table] = put
        connection.execute(put, row)

    def matches(self, column: Column[str], glob: str) -> ColumnElement[bool]:
        """Whether a column matches a glob as in routes. ValueError says what is wrong with it."""
        pattern = compile_glob(glob).pattern
        if self.is_sqlite:
            return func.relay_glob(column, literal(glob, AnyText()), type_=Boolean())
        # PostgreSQL's engine never goes back, so it neither has nor needs atomic groups.
        return column.regexp_match(f"^(?:{pattern.replace('(?>', '(?:')})$")

    def close(self) -> None:
        self._writer.close()
        self._engine.dispose()

    @contextmanager
    def _turn_to_write(self, wait: float) -> Iterator[None]:
        # SQLite lets its writers in by polling with growing naps; queueing within the process
        # first keeps a burst of threads from starving each other.
        if not self.is_sqlite:
            yield
            return
        if not self._turn.acquire(wait):
            raise unavailable("locked", "other threads wrote all the time", "其他线程一直在写入")
        try:
            yield
        finally:
            self._turn.release()


def _number(names: Names) -> int:
    words = "\0".join(names).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(words).digest()[:8], "big", signed=True)


class LedgerPart:
    """What every part of the Store stands on."""

    def __init__(self, database: Database) -> None:
        self._database = database


def _open_postgresql(url: URL) -> Engine:
    ours = {name: value for name, value in AWAY.items() if name not in url.query}
    address = url.set(drivername="postgresql+psycopg").update_query_dict(ours)
    try:
        engine = create_engine(address, **_pool(), pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise ConfigError(
            SETTING,
            Localized(
                "PostgreSQL needs the Python package psycopg", "使用 PostgreSQL 需要 psycopg"
            ),
            Localized(
                'Run: pip install "psycopg[binary]" (the extra `postgresql`)',
                '请运行：pip install "psycopg[binary]"（即附加依赖 postgresql）',
            ),
        ) from error
    event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_postgresql(connection: Any, _record: object) -> None:
    # Who is cut off from the network in a transaction would keep its locks, that of all claims
    # too, until the server's TCP gives up: two hours.
    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE:.0f}ms'")
    # Whoever waits longer for another's lock says so, and is asked again.
    connection.execute(f"SET lock_timeout = '{WAIT * 1000:.0f}ms'")
    connection.autocommit = False


def _pool() -> dict[str, Any]:
    # hide_parameters: errors reach logs, and parameters are what people sent us.
    return {"pool_size": 40, "max_overflow": 24, "pool_timeout": WAIT, "hide_parameters": True}


def _unknown_database() -> ConfigError:
    return ConfigError(
        SETTING,
        Localized("This is no database that Relay knows", "Relay 不支持该数据库"),
        Localized(
            "Use sqlite:///var/relay.db or postgresql://user@host/name.",
            "请使用 sqlite:///var/relay.db 或 postgresql://user@host/name。",
        ),
    )
