"""Many threads' transactions in one commit: all durable, each with its own outcome."""

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


class Counted:
    """A way into the database that counts commits and can be held shut."""

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


def test_what_comes_while_another_commits_shares_the_next_commit(database: Database) -> None:
    way = Counted(database)
    writer = GroupCommitter(way.begin)
    way.open.clear()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert way.entered.wait(10)
        rest = [pool.submit(writer.do, insert(one), 10) for one in range(1, 21)]
        while writer._queue.qsize() < 20:
            pass
        way.open.set()
        assert [one.result() for one in (first, *rest)] == list(range(21))
    writer.close()
    assert way.commits == 2
    assert numbers(database) == list(range(21))


def test_one_that_fails_takes_no_other_with_it(database: Database) -> None:
    way = Counted(database)
    writer = GroupCommitter(way.begin)
    way.open.clear()

    def fails(connection: Connection) -> None:
        insert(100)(connection)
        raise ValueError("not mine")

    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert way.entered.wait(10)
        good = [pool.submit(writer.do, insert(one), 10) for one in (1, 2)]
        bad = pool.submit(writer.do, fails, 10)
        twice = pool.submit(writer.do, insert(0), 10)
        more = pool.submit(writer.do, insert(3), 10)
        while writer._queue.qsize() < 5:
            pass
        way.open.set()
        assert [one.result() for one in (first, *good, more)] == [0, 1, 2, 3]
        with pytest.raises(ValueError, match="not mine"):
            bad.result()
        with pytest.raises(LedgerUnavailable):
            twice.result()
    writer.close()
    assert numbers(database) == [0, 1, 2, 3]


def test_who_waited_too_long_is_told_and_nothing_of_it_happens_later(database: Database) -> None:
    way = Counted(database)
    writer = GroupCommitter(way.begin)
    way.open.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(writer.do, insert(0), 10)
        assert way.entered.wait(10)
        with pytest.raises(LedgerUnavailable) as refused:
            writer.do(insert(1), 0.01)
        way.open.set()
        assert first.result() == 0
    writer.close()
    assert refused.value.code == "store.locked"
    assert numbers(database) == [0]


def test_what_has_begun_is_waited_for_however_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = Counted(database)
    writer = GroupCommitter(way.begin)
    way.open.clear()
    late = threading.Event()

    class Watched(Future[Any]):
        def cancel(self) -> bool:  # asked of it only once the time is over
            late.set()
            return super().cancel()

    monkeypatch.setattr("relay.ledger.group_commit.Future", Watched)
    with ThreadPoolExecutor(1) as pool:
        told = pool.submit(writer.do, insert(7), 1)
        assert way.entered.wait(10)
        assert late.wait(10)
        way.open.set()
        assert told.result() == 7
    writer.close()
    assert numbers(database) == [7]


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_has_a_writer_of_its_own(database: Database) -> None:
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
    with os.fdopen(read, "rb") as told:
        assert told.read() == b"2"
    assert database.write_grouped(insert(3)) == 3
    assert numbers(database) == [1, 2, 3]


def test_closing_writes_what_was_handed_in(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(database.write_grouped, insert(one)) for one in range(4)]
        assert sorted(one.result() for one in waiting) == [0, 1, 2, 3]
    database._writer.close()
    database._writer.close()
    assert database.write_grouped(insert(4)) == 4


def test_a_burst_of_accepts_is_stored_whole(driver: Any, ledger: Ledger) -> None:
    def accept(number: int) -> int:
        return len(driver.accept(driver.event(f"prod/{number}.zip", etag=str(number))).deliveries)

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(accept, range(200))) == 200
    assert sum(ledger.statistics.counts().values()) == 200
