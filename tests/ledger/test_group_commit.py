"""Tests of group commit: each transaction of a batch is durable and has a separate result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text

from relay.ledger import Ledger, LedgerUnavailable
from relay.ledger.database import Database
from relay.ledger.group_commit import GroupCommitter, _Waiting


@pytest.fixture
def database(tmp_path: Any) -> Iterator[Database]:
    database = Database.open(f"sqlite:///{tmp_path}/relay.db")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE numbers (number INTEGER PRIMARY KEY)"))
    yield database
    database.close()


class CommitCounter:
    """Opens transactions, counts commits, and can delay the next transaction."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.commits = 0
        self.entered = threading.Event()
        self.turns = threading.Semaphore(1000)

    def close(self) -> None:
        """Let no transaction begin before the next release of `turns`, or open()."""
        self.turns = threading.Semaphore(0)

    def open(self) -> None:
        self.turns.release(1000)

    @contextmanager
    def begin(self, _wait: float) -> Iterator[Connection]:
        self.entered.set()
        assert self.turns.acquire(timeout=10)
        with self.database.write() as connection:
            yield connection
        self.commits += 1


def insert(number: int) -> Callable[[Connection], int]:
    def work(connection: Connection) -> int:
        connection.execute(text("INSERT INTO numbers VALUES (:number)"), {"number": number})
        return number

    return work


def numbers(database: Database) -> list[int]:
    with database.read() as connection:
        return list(connection.execute(text("SELECT number FROM numbers ORDER BY 1")).scalars())


def waiting(writer: GroupCommitter) -> int:
    return len(writer._waiting[os.getpid()].transactions)


def test_transactions_that_arrive_during_a_commit_share_the_next(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        rest = [pool.submit(writer.do, insert(number), 10) for number in range(1, 21)]
        while waiting(writer) < 20:
            pass
        counter.open()
        assert [future.result() for future in (first, *rest)] == list(range(21))
    assert counter.commits == 2
    assert numbers(database) == list(range(21))


def test_a_failed_transaction_does_not_affect_others(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()

    def fails(connection: Connection) -> None:
        insert(100)(connection)
        raise ValueError("not mine")

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        good = [pool.submit(writer.do, insert(number), 10) for number in (1, 2)]
        bad = pool.submit(writer.do, fails, 10)
        twice = pool.submit(writer.do, insert(0), 10)
        more = pool.submit(writer.do, insert(3), 10)
        while waiting(writer) < 5:
            pass
        counter.open()
        assert [future.result() for future in (first, *good, more)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="not mine"):
            bad.result()
        with pytest.raises(LedgerUnavailable):
            twice.result()
    assert numbers(database) == [0, 1, 2, 3]


def test_a_timed_out_transaction_fails_and_is_never_written(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        with pytest.raises(LedgerUnavailable) as refused:
            writer.do(insert(1), 0.01)
        counter.open()
        assert first.result() == 0
    assert refused.value.code == "store.locked"
    assert numbers(database) == [0]


def test_a_transaction_that_has_begun_is_awaited_without_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()
    late = threading.Event()

    class Watched(_Waiting):
        def cancel(self, transaction: Any) -> bool:  # called only after the timeout
            late.set()
            return super().cancel(transaction)

    monkeypatch.setattr("relay.ledger.group_commit._Waiting", Watched)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        counter.entered.clear()
        leader = pool.submit(writer.do, insert(1), 10)
        while waiting(writer) < 1:
            pass
        result = pool.submit(writer.do, insert(7), 0.5)
        while waiting(writer) < 2:
            pass
        counter.turns.release()
        assert counter.entered.wait(10)
        assert late.wait(10)
        counter.turns.release()
        assert [future.result() for future in (first, leader, result)] == [0, 1, 7]
    assert numbers(database) == [0, 1, 7]


def test_a_thread_that_is_interrupted_hands_the_others_over(database: Database) -> None:
    """Ctrl-C in a thread that leads undoes its own transaction only."""
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()

    def interrupted(_: Connection) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        stopped = pool.submit(writer.do, interrupted, 10)
        while waiting(writer) < 1:
            pass
        rest = [pool.submit(writer.do, insert(number), 10) for number in (1, 2)]
        while waiting(writer) < 3:
            pass
        counter.open()
        with pytest.raises(KeyboardInterrupt):
            stopped.result()
        assert [future.result() for future in (first, *rest)] == [0, 1, 2]
    assert numbers(database) == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_waits_for_no_thread_of_its_parent(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.close()
    read, write = os.pipe()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(writer.do, insert(1), 10)
        assert counter.entered.wait(10)
        child = os.fork()
        if not child:
            try:
                writer._begin = Database.open(str(database._engine.url)).write
                os.write(write, b"%d" % writer.do(insert(2), 10))
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        os.close(write)
        with os.fdopen(read, "rb") as result:
            assert result.read() == b"2"
        counter.open()
        assert first.result() == 1
    assert numbers(database) == [1, 2]


def test_a_burst_of_accepts_is_stored_completely(driver: Any, ledger: Ledger) -> None:
    def accept(number: int) -> int:
        return len(driver.accept(driver.event(f"prod/{number}.zip", etag=str(number))).deliveries)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(accept, range(200))) == 200
    assert sum(ledger.statistics.counts().values()) == 200
