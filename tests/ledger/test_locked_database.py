"""Tests of a database that another process holds: requests fail after a short wait."""

import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from relay.ledger import LedgerUnavailable


@contextmanager
def hold_lock(url):
    """Hold a lock on the tables that accept() writes, as another process does."""
    sqlite = url.startswith("sqlite")
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as other:
        if sqlite:
            other.exec_driver_sql("BEGIN EXCLUSIVE")
        else:
            other.exec_driver_sql("LOCK TABLE notifications, events IN ACCESS EXCLUSIVE MODE")
        yield
        other.rollback()
    engine.dispose()


def seconds_until_refused(driver):
    """Return how many seconds accept() takes to fail because the database is locked."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        driver.accept(driver.event(version="1"))
    assert caught.value.code == "store.locked"
    return time.monotonic() - began


def test_a_held_database_is_reported_and_nothing_is_stored(ledger, url, driver):
    with hold_lock(url):
        assert 1 < seconds_until_refused(driver) < 10
    assert driver.accept(driver.event(version="1")).new_events == 1


def test_later_requests_fail_sooner_while_the_database_is_held(ledger, url, driver):
    ledger.administration.ping()  # opens connections, as in a running server
    with hold_lock(url):
        seconds_until_refused(driver)
        later = seconds_until_refused(driver)
    assert later < 1
    assert driver.accept(driver.event(version="1")).new_events == 1
    assert driver.accept(driver.event(version="2")).new_events == 1
