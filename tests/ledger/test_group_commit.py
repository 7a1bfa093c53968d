"""Tests of group commit: each transaction of a batch is durable and has a separate result."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, text

from relay.ledger import Ledger, LedgerUnavailable
from relay.ledger.database import Database
from relay.ledger.group_commit import GroupCommitter


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
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()

    @contextmanager
    def begin(self, _wait: float) -> Iterator[Connection]:
        self.entered.set()
        assert self.open.wait(10)
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


def test_transactions_that_arrive_during_a_commit_share_the_next(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.open.clear()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        rest = [pool.submit(writer.do, insert(number), 10) for number in range(1, 21)]
        while writer._queue.qsize() < 20:
            pass
        counter.open.set()
        assert [future.result() for future in (first, *rest)] == list(range(21))
    writer.close()
    assert counter.commits == 2
    assert numbers(database) == list(range(21))


def test_a_failed_transaction_does_not_affect_others(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.open.clear()

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
        while writer._queue.qsize() < 5:
            pass
        counter.open.set()
        assert [future.result() for future in (first, *good, more)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="not mine"):
            bad.result()
        with pytest.raises(LedgerUnavailable):
            twice.result()
    writer.close()
    assert numbers(database) == [0, 1, 2, 3]


def test_a_timed_out_transaction_fails_and_is_never_written(database: Database) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.open.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert counter.entered.wait(10)
        with pytest.raises(LedgerUnavailable) as refused:
            writer.do(insert(1), 0.01)
        counter.open.set()
        assert first.result() == 0
    writer.close()
    assert refused.value.code == "store.locked"
    assert numbers(database) == [0]


def test_a_transaction_that_has_begun_is_awaited_without_limit(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counter = CommitCounter(database)
    writer = GroupCommitter(counter.begin)
    counter.open.clear()
    late = threading.Event()

    class WatchedFuture(Future[Any]):
        def cancel(self) -> bool:  # called only after the timeout
            late.set()
            return super().cancel()

    monkeypatch.setattr("relay.ledger.group_commit.Future", WatchedFuture)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(writer.do, insert(7), 1)
        assert counter.entered.wait(10)
        assert late.wait(10)
        counter.open.set()
        assert result.result() == 7
    writer.close()
    assert numbers(database) == [7]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_starts_a_new_writer_thread(database: Database) -> None:
    assert database.write_grouped(insert(1)) == 1
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            own = Database.open(str(database._engine.url))
            database._writer._begin = own.write
            os.write(write, b"%d" % database.write_grouped(insert(2)))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read, "rb") as result:
        assert result.read() == b"2"
    assert database.write_grouped(insert(3)) == 3
    assert numbers(database) == [1, 2, 3]


def test_closing_finishes_the_queued_transactions(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(database.write_grouped, insert(number)) for number in range(4)]
        assert sorted(future.result() for future in waiting) == [0, 1, 2, 3]
    database._writer.close()
    database._writer.close()
    assert database.write_grouped(insert(4)) == 4


def test_a_burst_of_accepts_is_stored_completely(driver: Any, ledger: Ledger) -> None:
    def accept(number: int) -> int:
        return len(driver.accept(driver.event(f"prod/{number}.zip", etag=str(number))).deliveries)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(accept, range(200))) == 200
    assert sum(ledger.statistics.counts().values()) == 200
