"""Overload: a notification that cannot be stored gets a 503 in time, and no response is wrong.

The load is an open loop: each sender posts at a fixed time, independent of the other senders.
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
LOCKED_SECONDS, RATE, SENDERS = 3.0, 80, 320
"""The database is locked for 3 s while 320 senders post within 4 s: the last find it unlocked."""

MAX_SECONDS = 8.0
"""Until a response: 2 s of waiting for the database, the queue before it, and a busy CI."""


class Result(NamedTuple):
    key: str
    status: int
    retry_after: str | None
    seconds: float


@pytest.fixture
def port(ledger_url: str, tmp_path: Path) -> Iterator[int]:
    """The port of a relay process without a worker."""
    path = tmp_path / "relay.toml"
    path.write_text(CONFIGURATION.format(url=ledger_url, token=TOKEN))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    command = [sys.executable, "-m", "relay", "--config", str(path), "serve", "--no-worker"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--port", str(port)], cwd=ROOT, stdout=log, stderr=log
        )
    try:
        end = monotonic() + 30
        while not is_ready(port):
            assert monotonic() < end, (tmp_path / "log").read_text()
            sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(40)


def is_ready(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except OSError:
            return False


def connect(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"), check_same_thread=False)
    return psycopg.connect(url)


@contextmanager
def locked(url: str) -> Iterator[None]:
    """Lock the database against writers for LOCKED_SECONDS."""
    with closing(connect(url)) as connection:
        if url.startswith("sqlite"):
            connection.execute("BEGIN EXCLUSIVE")
        else:
            connection.execute("LOCK TABLE notifications IN ACCESS EXCLUSIVE MODE")
        timer = threading.Timer(LOCKED_SECONDS, connection.rollback)
        timer.start()
        yield
        timer.join()


def stored_keys(url: str) -> set[str]:
    """The keys of the events in the database."""
    with closing(connect(url)) as connection:
        return {key for (key,) in connection.execute("SELECT key FROM events")}


def post(port: int, number: int, at: float) -> Result:
    """Post a notification at time `at`; the seconds of the result count from there."""
    key = f"prod/f{number:03}.zip"
    entity = {"bucket": {"name": "exports"}, "object": {"key": key, "size": 3, "eTag": "e1"}}
    event = {"eventName": "ObjectCreated:Put", "eventTime": "2026-11-24T03:00:00Z", "s3": entity}
    sleep(max(at - monotonic(), 0))
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        body = json.dumps({"Records": [event]})
        connection.request("POST", "/hooks/exports", body, headers)
        response = connection.getresponse()
        response.read()
        retry_after = response.headers["Retry-After"]
        return Result(key, response.status, retry_after, monotonic() - at)


def test_each_notification_is_either_stored_or_gets_503_in_time(port: int, ledger_url: str) -> None:
    with locked(ledger_url), ThreadPoolExecutor(SENDERS) as pool:
        begin = monotonic()
        futures = [pool.submit(post, port, n, begin + n / RATE) for n in range(SENDERS)]
        results = [future.result() for future in futures]
    accepted = {result.key for result in results if result.status == 200}
    refused = [result for result in results if result.status == 503]
    assert len(accepted) + len(refused) == SENDERS
    assert accepted, "no sender found the database unlocked: the test proves nothing"
    assert len(refused) > SENDERS / 10, "few senders met the lock: the test proves nothing"
    assert all(int(result.retry_after or 0) > 0 for result in refused)
    assert max(result.seconds for result in results) < MAX_SECONDS
    assert stored_keys(ledger_url) == accepted
