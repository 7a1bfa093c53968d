"""Tests of waking other processes: by NOTIFY on PostgreSQL, by polling a SQLite file."""

from __future__ import annotations

import re
import threading
import time
from typing import Any

import psycopg
import pytest

from relay.ledger import Ledger, LedgerUnavailable
from tests.postgresql import Server


def start_listening(
    ledger: Ledger, wakeups: list[float], going: threading.Event
) -> threading.Thread:
    """Start a thread that records wake-ups, and return once it listens."""
    ready = threading.Event()

    def wake() -> None:
        wakeups.append(time.monotonic())
        ready.set()

    def listen() -> None:
        try:
            ledger.listener.listen(wake, going.is_set)
        except LedgerUnavailable:
            wakeups.append(-1.0)

    going.set()
    thread = threading.Thread(target=listen)
    thread.start()
    assert ready.wait(10)
    return thread


def wait_for_wakeups(wakeups: list[float], count: int) -> None:
    end = time.monotonic() + 10
    while len(wakeups) < count and time.monotonic() < end:
        time.sleep(0.001)
    assert len(wakeups) >= count


@pytest.fixture
def other(ledger: Ledger, url: str) -> Any:
    other = Ledger.open(url)
    yield other
    other.close()


@pytest.fixture
def notified_ledger(other: Ledger, url: str) -> Ledger:
    if url.startswith("sqlite"):
        pytest.skip("SQLite has no NOTIFY")
    return other


def test_a_stored_delivery_wakes_other_processes(other: Ledger, driver: Any, url: str) -> None:
    wakeups: list[float] = []
    going = threading.Event()
    thread = start_listening(other, wakeups, going)
    try:
        driver.deliver_to("prod", version="1")
        wait_for_wakeups(wakeups, 2)
        stored = len(wakeups)
        driver.done("prod/b.zip", version="1")
        # The import and the message; polling a file may see both at once.
        wait_for_wakeups(wakeups, stored + (1 if url.startswith("sqlite") else 2))
    finally:
        going.clear()
        thread.join()
    assert -1.0 not in wakeups


def test_a_change_without_a_due_delivery_wakes_no_process(
    notified_ledger: Ledger, driver: Any
) -> None:
    wakeups: list[float] = []
    going = threading.Event()
    thread = start_listening(notified_ledger, wakeups, going)
    try:
        driver.deliver_to("prod", version="1")
        wait_for_wakeups(wakeups, 2)
        driver.finish(driver.claimed())
        driver.deliver_to("prod", version="2")
        wait_for_wakeups(wakeups, 3)
    finally:
        going.clear()
        thread.join()
    assert len(wakeups) == 3


def test_a_broken_connection_is_reported(
    notified_ledger: Ledger, postgresql: Server, url: str
) -> None:
    wakeups: list[float] = []
    going = threading.Event()
    thread = start_listening(notified_ledger, wakeups, going)
    name = url.rpartition("/")[2]
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(cut, [name])
    thread.join(10)
    assert wakeups[-1] == -1.0


def test_an_unchanged_file_wakes_no_process(tmp_path: Any) -> None:
    ledger = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    ledger.administration.migrate()
    wakeups: list[float] = []
    looks = iter(range(5))
    ledger.listener.listen(lambda: wakeups.append(0.0), lambda: next(looks, None) is not None)
    ledger.close()
    assert len(wakeups) == 1  # the wake-up at the start


def test_an_unreachable_server_is_reported(notified_ledger: Ledger, url: str) -> None:
    """This happens while PostgreSQL restarts; the worker logs a warning."""
    away = Ledger.open(re.sub(r":\d+/", ":1/", url))
    try:
        with pytest.raises(LedgerUnavailable):
            away.listener.listen(lambda: None, lambda: True)
    finally:
        away.close()
