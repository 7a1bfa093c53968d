"""Tests that the reused PostgreSQL databases are clean."""

from __future__ import annotations

import psycopg
import pytest

from relay.ledger import Ledger
from tests.ledgers import DatabasePool

LEFT = {
    "a row": "INSERT INTO digests VALUES ('target', 'ours', 'theirs')",
    "a newer version": "UPDATE alembic_version SET version_num = '9999'",
    "no version": "DELETE FROM alembic_version",
    "another table": "CREATE TABLE left_over (id integer)",
    "an index less": "DROP INDEX ix_deliveries_due",
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_the_next_test_finds_an_empty_database_of_this_version(database_pool, left):
    url = database_pool.acquire()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(left)
    database_pool.release(url)
    following = database_pool.acquire()
    with psycopg.connect(following) as connection:
        assert connection.execute("SELECT count(*) FROM digests").fetchone() == (0,)
        assert connection.execute("SELECT to_regclass('left_over')").fetchone() == (None,)
    ledger = Ledger.open(following)
    ledger.administration.migrate()
    ledger.administration.ping()
    ledger.close()
    database_pool.release(following)


def test_a_database_with_only_rows_is_reused(database_pool):
    url = database_pool.acquire()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LEFT["a row"])
    database_pool.release(url)
    assert database_pool.acquire() == url
    database_pool.release(url)


def test_a_database_that_held_many_rows_is_dropped(postgresql, monkeypatch):
    database_pool = DatabasePool(postgresql)
    monkeypatch.setattr(DatabasePool, "MAX_ROWS", 1)
    urls = []
    for _ in range(3):
        urls.append(database_pool.acquire())
        with psycopg.connect(urls[-1], autocommit=True) as connection:
            connection.execute(LEFT["a row"])
        database_pool.release(urls[-1])
    assert urls[0] == urls[1] != urls[2]
