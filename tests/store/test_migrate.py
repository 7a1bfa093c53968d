"""The tables come to be, and to the newest version."""

from __future__ import annotations

import logging

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text

from relay.errors import ConfigError
from relay.store import Store, StoreUnavailable
from relay.store.schema import metadata


def test_the_migrations_make_exactly_the_tables_of_the_schema(store):
    with store._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_partial_indexes_are_partial(store):
    if not store._database.is_sqlite:
        pytest.skip("read from SQLite's own table")
    with store._database.read() as connection:
        query = "SELECT name, sql FROM sqlite_master WHERE sql LIKE '%WHERE%' ORDER BY name"
        found = {
            row.name: row.sql.partition("WHERE ")[2] for row in connection.execute(text(query))
        }
    assert found == {
        "ix_deliveries_due": "state = 'pending'",
        "ix_deliveries_leased": "state = 'running'",
    }


def test_migrating_again_changes_nothing(store, hands):
    delivery = hands.done(version="1")
    store.migrate()
    assert store.delivery(delivery.id) == delivery


def test_a_database_without_tables_is_not_ready(url):
    store = Store.open(url)
    with pytest.raises(StoreUnavailable, match="no tables"):
        store.ping()
    store.migrate()
    store.ping()
    store.close()


def test_a_database_of_a_newer_relay_is_refused_and_left_alone(store):
    with store._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer Relay .*9999") as caught:
        store.migrate()
    assert caught.value.path == "database.url"
    with store._database.read() as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).scalar() == "9999"


def test_migrating_prints_nothing_and_leaves_logging_as_it_is(url, capfd):
    root, names = logging.getLogger(), set(logging.root.manager.loggerDict)
    before = (root.level, list(root.handlers), logging.root.manager.disable)
    store = Store.open(url)
    store.migrate()
    store.close()
    assert (root.level, list(root.handlers), logging.root.manager.disable) == before
    disabled = [name for name in names if getattr(logging.getLogger(name), "disabled", False)]
    assert disabled == []
    assert capfd.readouterr() == ("", "")
