"""More comes than the ledger takes: whoever cannot be stored hears so in time, and nobody lies.

Open loop: each sender posts at its moment, whatever became of the others.
"""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any, NamedTuple

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hook-token-of-the-tests"
CONFIGURATION = """
[database]
url = "{url}"

[sources.exports]
kind = "s3"
access_key_id = "test"
secret_access_key = "test-secret"
buckets = ["exports"]
token = "{token}"
"""
HELD, RATE, SENDERS = 3.0, 80, 320
"""Seconds for which another holds the ledger; posts a second, and how many: for 4 s, so that the
last ones find it free."""

IN_TIME = 8.0
"""Seconds until an answer: two in the ledger, a moment in the queue before it; and CI is busy."""


class Heard(NamedTuple):
    key: str
    status: int
    retry_after: str | None
    seconds: float


@pytest.fixture
def port(ledger_url: str, tmp_path: Path) -> Iterator[int]:
    """Where a relay of its own process answers; it delivers nothing."""
    path = tmp_path / "relay.toml"
    path.write_text(CONFIGURATION.format(url=ledger_url, token=TOKEN))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "relay", "--config", str(path), "serve", "--no-worker"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        end = monotonic() + 30
        while not answers(port):
            assert monotonic() < end, (tmp_path / "log").read_text()
            sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(40)


def answers(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def connected(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)
    return psycopg.connect(url)


@contextmanager
def held(url: str) -> Iterator[None]:
    """Another's hold on all that is written, for HELD seconds from the beginning on."""
    with closing(connected(url)) as other:
        if url.startswith("sqlite"):
            other.execute("BEGIN EXCLUSIVE")
        else:
            other.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(HELD, other.rollback)
        timer.start()
        yield
        timer.join()


def stored(url: str) -> set[str]:
    """The objects of the events that are in the ledger."""
    with closing(connected(url)) as ledger:
        return {key for (key,) in ledger.execute("SELECT key FROM events")}


def post(port: int, number: int, at: float) -> Heard:
    """One notification at that moment. Its seconds count from there, wherever it had to wait."""
    key = f"prod/f{number:03}.zip"
    thing = {"bucket": {"name": "exports"}, "object": {"key": key, "size": 3, "eTag": "e1"}}
    event = {"eventName": "ObjectCreated:Put", "eventTime": "2026-11-24T03:00:00Z", "s3": thing}
    sleep(max(at - monotonic(), 0))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = json.dumps({"Records": [event]})
        connection.request("POST", "/hooks/exports", body, headers)
        answer = connection.getresponse()
        answer.read()
        after = answer.headers["Retry-After"]
        return Heard(key, answer.status, after, monotonic() - at)


def test_who_cannot_be_stored_hears_so_in_time_and_is_not_stored(
    port: int, ledger_url: str
) -> None:
    with held(ledger_url), ThreadPoolExecutor(SENDERS) as pool:
        begin = monotonic()
        posted = [pool.submit(post, port, n, begin + n / RATE) for n in range(SENDERS)]
        heard = [one.result() for one in posted]
    taken = {one.key for one in heard if one.status == 200}
    refused = [one for one in heard if one.status == 503]
    assert len(taken) + len(refused) == SENDERS
    assert taken, "nobody found it free again: this proves nothing"
    assert len(refused) > SENDERS / 10, "hardly anybody met the lock: this proves nothing"
    assert all(int(one.retry_after or 0) > 0 for one in refused)
    assert max(one.seconds for one in heard) < IN_TIME
    assert stored(ledger_url) == taken
