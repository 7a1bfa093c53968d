"""Processes over PostgreSQL hear of each other's deliveries at once."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from relay.store import Store, StoreUnavailable
from tests.postgresql import Server


def listening(store: Store, heard: list[float], going: threading.Event) -> threading.Thread:
    """A thread that notes when it is woken; returned once it listens."""
    ready = threading.Event()

    def wake() -> None:
        heard.append(time.monotonic())
        ready.set()

    def listen() -> None:
        try:
            store.listen(wake, going.is_set)
        except StoreUnavailable:
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
def other(store: Store, url: str) -> Any:
    if not store.heard:
        pytest.skip("a SQLite file tells nobody")
    other = Store.open(url)
    yield other
    other.close()


def test_what_is_stored_wakes_the_others(other: Store, hands: Any) -> None:
    heard: list[float] = []
    going = threading.Event()
    thread = listening(other, heard, going)
    try:
        hands.deliver_to("prod", version="1")
        until(heard, 2)
        claim = hands.claimed()
        stored = len(heard)
        hands.finish(claim)
        assert len(heard) == stored  # nothing new is due
        hands.done("prod/b.zip", version="1")
        until(heard, stored + 2)  # the import, and its message
    finally:
        going.clear()
        thread.join()
    assert -1.0 not in heard


def test_a_broken_connection_is_told(other: Store, postgresql: Server, url: str) -> None:
    heard: list[float] = []
    going = threading.Event()
    thread = listening(other, heard, going)
    name = url.rpartition("/")[2]
    with psycopg.connect(postgresql.url("postgres"), autocommit=True) as connection:
        cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(cut, [name])
    thread.join(10)
    assert heard[-1] == -1.0


def test_a_file_tells_nobody(tmp_path: Any) -> None:
    store = Store.open(f"sqlite:///{tmp_path}/relay.db")
    assert not store.heard
    store.close()
