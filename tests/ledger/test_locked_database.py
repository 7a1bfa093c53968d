"""A ledger that another process holds: told after two seconds, and sooner while it lasts."""

import time
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from relay.ledger import LedgerUnavailable


@contextmanager
def held(url):
    """Another process's lock on all that an accept writes."""
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


def refused(driver):
    """Seconds until an accept was told that another process holds the ledger."""
    began = time.monotonic()
    with pytest.raises(LedgerUnavailable) as caught:
        driver.accept(driver.event(version="1"))
    assert caught.value.code == "store.locked"
    return time.monotonic() - began


def test_it_is_told_and_nothing_is_kept(ledger, url, driver):
    with held(url):
        assert 1 < refused(driver) < 10
    assert driver.accept(driver.event(version="1")).new_events == 1


def test_while_it_lasts_who_comes_later_is_told_sooner(ledger, url, driver):
    ledger.administration.ping()  # it has connections, as one that serves has
    with held(url):
        refused(driver)
        later = refused(driver)
    assert later < 1
    assert driver.accept(driver.event(version="1")).new_events == 1
    assert driver.accept(driver.event(version="2")).new_events == 1
