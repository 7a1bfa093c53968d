"""Tests of several processes that share a ledger, some of which are killed."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from relay.ledger import Ledger
from relay.model import Kind, State, utc_now

CHILD = Path(__file__).with_name("child.py")
Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    children: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        words = [sys.executable, "-W", "error", str(CHILD), *map(str, arguments)]
        child = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        children.append(child)
        return child

    yield start
    for child in children:
        child.kill()
        child.communicate()


def output_lines(child: subprocess.Popen[str]) -> list[list[str]]:
    """Return the words of each line that a successful child printed."""
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0, out
    return [line.split() for line in out.splitlines()]


def test_two_processes_accept_and_two_claim_at_once(url, ledger, start):
    accepting = [start("accept", url, prefix, 60) for prefix in "ab"]
    claiming = [start("claim", url, owner, 240) for owner in ("w1", "w2")]
    accepted = [delivery for child in accepting for _, delivery in output_lines(child)]
    done = [words[0] for child in claiming for words in output_lines(child)]
    assert len(set(accepted)) == 120
    assert max(Counter(done).values()) == 1
    assert set(accepted) < set(done)
    assert ledger.statistics.counts() == {
        (Kind.IMPORT, State.SUCCEEDED): 120,
        (Kind.MESSAGE, State.SUCCEEDED): 120,
    }


def test_nothing_acknowledged_is_lost_to_a_kill(url, ledger, start):
    child = start("accept", url, "a", "endless")
    lines = [child.stdout.readline() for _ in range(40)]
    child.kill()
    lines += [line for line in child.stdout if line.endswith("\n")]
    acknowledged = [line.split() for line in lines]
    assert len(acknowledged) >= 40
    for notification_id, delivery_id in acknowledged:
        assert ledger.history.notification(notification_id) is not None
        assert ledger.history.delivery(delivery_id).state == State.PENDING
    assert output_lines(start("accept", url, "b", 1)), "the next process goes on where it ended"


def test_every_accepted_notification_has_its_delivery_after_a_kill(url, ledger, start):
    for n in range(3):
        child = start("accept", url, n, "endless")
        for _ in range(7 + n):
            child.stdout.readline()
        child.kill()
        child.wait()
    total = sum(ledger.statistics.notification_counts().values())
    assert total >= 24
    assert sum(ledger.statistics.counts().values()) == total, "half a transaction was kept"


def test_the_claims_of_a_killed_worker_are_taken_over(url, ledger, driver, start):
    driver.now = utc_now()
    driver.deliver_to("prod", version="1")
    child = start("hold", url)
    held = child.stdout.readline().strip()
    child.kill()
    driver.now = utc_now()
    assert driver.claim("w2") is None
    driver.later(seconds=35)
    claim = driver.claimed("w2")
    assert claim.delivery.id == held
    assert driver.finish(claim)


def test_ten_processes_migrate_at_once(url, start):
    assert output_lines(start("migrate", url, 10)) == [["migrated", "0"]] * 10
    ledger = Ledger.open(url)
    ledger.administration.ping()
    assert ledger.statistics.counts() == {}
    ledger.close()


def test_nothing_acknowledged_is_lost_when_the_file_cannot_grow(url, ledger, driver, start):
    if not url.startswith("sqlite"):
        pytest.skip("the database server owns the file")
    path = url.removeprefix("sqlite:///")
    ledger.close()
    lines = output_lines(start("fill", url, path))
    *_, (refused, code), after = lines
    assert (refused, code.partition(".")[0]) == ("refused", "store")
    kept = [words for words in lines if words[0] == "kept"]
    assert len(kept) > 5
    assert after in kept
    for _, notification_id, delivery_id in kept:
        assert ledger.history.notification(notification_id) is not None
        assert ledger.history.delivery(delivery_id) is not None
    assert sum(ledger.statistics.notification_counts().values()) == len(kept)
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()
