"""Processes hear of each other's deliveries: PostgreSQL tells them, a SQLite file is looked at."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import psycopg
import pytest

from relay.ledger import Ledger, LedgerUnavailable
from tests.postgresql import Server


def listening(ledger: Ledger, heard: list[float], going: threading.Event) -> threading.Thread:
    """A thread that notes when it is woken; returned once it listens."""
    ready = threading.Event()

    def wake() -> None:
        heard.append(time.monotonic())
        ready.set()

    def listen() -> None:
        try:
            ledger.listener.listen(wake, going.is_set)
        except LedgerUnavailable:
            heard.append(-1.0)

    going.set()
    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(10)
    return thread


def until(heard: list[float], count: int) -> None:
    end = time.monotonic() + 10
    while len(heard) < count and time.monotonic() < end:
        time.sleep(0.001)
    assert len(heard) >= count


@pytest.fixture
def other(ledger: Ledger, url: str) -> Any:
    other = Ledger.open(url)
    yield other
    other.close()


@pytest.fixture
def told(other: Ledger, url: str) -> Ledger:
    if url.startswith("sqlite"):
        pytest.skip("a SQLite file tells nobody")
    return other


def test_what_is_stored_wakes_the_others(other: Ledger, driver: Any, url: str) -> None:
    heard: list[float] = []
    going = threading.Event()
    thread = listening(other, heard, going)
    try:
        driver.deliver_to("prod", version="1")
        until(heard, 2)
        stored = len(heard)
        driver.done("prod/b.zip", version="1")
        # The import, and its message; whoever looks at a file may see both at once.
        until(heard, stored + (1 if url.startswith("sqlite") else 2))
    finally:
        going.clear()
        thread.join()
    assert -1.0 not in heard


def test_nobody_is_woken_when_nothing_new_is_due(told: Ledger, driver: Any) -> None:
    heard: list[float] = []
    going = threading.Event()
    thread = listening(told, heard, going)
    try:
        driver.deliver_to("prod", version="1")
        until(heard, 2)
        driver.finish(driver.claimed())
        driver.deliver_to("prod", version="2")
        until(heard, 3)
    finally:
        going.clear()
        thread.join()
    assert len(heard) == 3


def test_a_broken_connection_is_told(told: Ledger, postgresql: Server, url: str) -> None:
    heard: list[float] = []
    going = threading.Event()
    thread = listening(told, heard, going)
    name = url.rpartition("/")[2]
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(cut, [name])
    thread.join(10)
    assert heard[-1] == -1.0


def test_a_file_that_nobody_writes_to_wakes_nobody(tmp_path: Any) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    ledger.administration.migrate()
    heard: list[float] = []
    looks = iter(range(5))
    ledger.listener.listen(lambda: heard.append(0.0), lambda: next(looks, None) is not None)
    ledger.close()
    assert len(heard) == 1  # what came before it was looked at


def test_a_server_that_is_away_is_told_in_words(told: Ledger, url: str) -> None:
    """As it is while PostgreSQL restarts: a warning of the worker, no bug."""
    away = Ledger.open(re.sub(r":\d+/", ":1/", url))
    try:
        with pytest.raises(LedgerUnavailable):
            away.listener.listen(lambda: None, lambda: True)
    finally:
        away.close()
