"""What a test did to its ledger on PostgreSQL never meets the next one."""

from __future__ import annotations

import psycopg
import pytest

from relay.ledger import Ledger
from tests.ledgers import Spares

LEFT = {
    "a row": "INSERT INTO digests VALUES ('target', 'ours', 'theirs')",
    "a newer version": "UPDATE alembic_version SET version_num = '9999'",
    "no version": "DELETE FROM alembic_version",
    "another table": "CREATE TABLE left_over (id integer)",
    "an index less": "DROP INDEX ix_deliveries_due",
}


@pytest.mark.parametrize("left", LEFT.values(), ids=LEFT)
def test_the_next_one_finds_an_empty_ledger_of_this_version(spares, left):
    url = spares.take()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(left)
    spares.give_back(url)
    following = spares.take()
    with psycopg.connect(following) as connection:
        assert connection.execute("SELECT count(*) FROM digests").fetchone() == (0,)
        assert connection.execute("SELECT to_regclass('left_over')").fetchone() == (None,)
    ledger = Ledger.open(following)
    ledger.administration.migrate()
    ledger.administration.ping()
    ledger.close()
    spares.give_back(following)


def test_what_was_only_filled_is_lent_again(spares):
    url = spares.take()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(LEFT["a row"])
    spares.give_back(url)
    assert spares.take() == url
    spares.give_back(url)


def test_one_through_which_many_rows_went_goes(postgresql, monkeypatch):
    spares = Spares(postgresql)
    monkeypatch.setattr(Spares, "MOST", 1)
    lent = []
    for _ in range(3):
        lent.append(spares.take())
        with psycopg.connect(lent[-1], autocommit=True) as connection:
            connection.execute(LEFT["a row"])
        spares.give_back(lent[-1])
    assert lent[0] == lent[1] != lent[2]
