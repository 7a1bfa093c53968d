"""Opens PostgreSQL databases, with timeouts that suit a worker."""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Engine, create_engine, event

from relay.errors import ConfigError
from relay.ledger.sqlite import SETTING, WAIT
from relay.model import Localized

IDLE_TIMEOUT = 5000.0
"""Milliseconds after which PostgreSQL ends a transaction that sends no statement."""

CONNECTION_OPTIONS = {
    "connect_timeout": "5",
    "tcp_user_timeout": "15000",  # milliseconds
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
}
"""libpq's timeouts: how long until an unresponsive PostgreSQL counts as down. With the system's
values, a disconnected worker would wait silently for minutes. The URL overrides them."""


def open_postgresql(url: URL, pool: dict[str, Any]) -> Engine:
    """Return an engine for a PostgreSQL URL. Raises ConfigError if the driver is missing."""
    defaults = {name: value for name, value in CONNECTION_OPTIONS.items() if name not in url.query}
    address = url.set(drivername="postgresql+psycopg").update_query_dict(defaults)
    try:
        engine = create_engine(address, **pool, pool_pre_ping=True)
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
    event.listen(engine, "connect", _prepare_connection)
    return engine


def _prepare_connection(connection: Any, _record: object) -> None:
    # A worker that is disconnected inside a transaction would otherwise keep the locks, the claim
    # lock included, until the server's TCP stack gives up after two hours.
    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT:.0f}ms'")
    connection.execute(f"SET lock_timeout = '{WAIT * 1000:.0f}ms'")
    connection.autocommit = False
