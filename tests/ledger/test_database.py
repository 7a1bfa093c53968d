"""Tests of opening databases, of transactions and of database errors."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.ledger import Ledger, LedgerUnavailable, postgresql
from relay.ledger.database import Database
from relay.ledger.errors import translate
from relay.ledger.sqlite import journal_mode

from .conftest import LedgerDriver


class TestOpen:
    def test_creates_the_directory_of_a_sqlite_file(self, tmp_path):
        ledger = Ledger.open(f"sqlite:///{tmp_path}/deep/down/relay.db")
        ledger.administration.migrate()
        assert (tmp_path / "deep/down/relay.db").is_file()
        ledger.close()

    def test_a_relative_path_does_not_change_with_the_working_directory(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.chdir(tmp_path)
        ledger = Ledger.open("sqlite:///var/relay.db")
        monkeypatch.chdir("/")
        ledger.administration.migrate()
        assert (tmp_path / "var/relay.db").is_file()
        ledger.close()

    def test_a_path_may_contain_special_characters(self, tmp_path):
        ledger = Ledger.open(f"sqlite:///{tmp_path}/50%/中 文#.db")
        ledger.administration.migrate()
        ledger.administration.ping()
        ledger.close()

    @pytest.mark.parametrize(
        "url", ["sqlite://", "sqlite:///:memory:", "sqlite:///file:x?mode=memory&uri=true"]
    )
    def test_a_database_in_memory_is_refused(self, url):
        with pytest.raises(ConfigError, match="outlive") as caught:
            Ledger.open(url)
        assert caught.value.path == "database.url"

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "relay.db",
            "mysql://root:s3cret@host/x",
            "sqlite+aiosqlite:///x",
            "s3cret@x:y",
            "postgresql://u:p@host:s3cret/x",
        ],
    )
    def test_any_other_database_is_refused_without_its_password(self, url):
        with pytest.raises(ConfigError, match="does not support this database") as caught:
            Ledger.open(url)
        assert "s3cret" not in str(caught.value) + repr(caught.value.__cause__)

    def test_a_directory_that_cannot_be_created_is_a_configuration_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(ConfigError, match="cannot be created"):
            Ledger.open(f"sqlite:///{tmp_path}/file/relay.db")

    def test_postgresql_without_its_driver_is_refused_with_a_hint(self):
        try:
            import psycopg  # noqa: F401
        except ImportError:
            with pytest.raises(ConfigError, match="psycopg"):
                Ledger.open("postgresql://relay@localhost/relay")
        else:
            Ledger.open("postgresql://relay@localhost/relay").close()


class TestSqlite:
    @pytest.fixture
    def path(self, tmp_path):
        return tmp_path / "relay.db"

    @pytest.fixture
    def ledger(self, path):
        ledger = Ledger.open(f"sqlite:///{path}")
        ledger.administration.migrate()
        yield ledger
        ledger.close()

    def test_commits_reach_the_disk_and_keys_are_checked(self, ledger):
        with ledger._database.read() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar()
        assert mode.upper() == journal_mode(sqlite3.sqlite_version_info)

    @pytest.mark.parametrize(
        ("version", "mode"),
        [((3, 40, 1), "TRUNCATE"), ((3, 51, 2), "TRUNCATE"), ((3, 51, 3), "WAL"), ((4, 0), "WAL")],
    )
    def test_wal_mode_is_used_only_with_safe_versions(self, version, mode):
        assert journal_mode(version) == mode

    def test_a_file_in_wal_mode_is_changed_to_a_safe_mode(self, path):
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.close()
        ledger = Ledger.open(f"sqlite:///{path}")
        ledger.administration.migrate()
        with ledger._database.read() as reader:
            mode = reader.exec_driver_sql("PRAGMA journal_mode").scalar()
        assert mode.upper() == journal_mode(sqlite3.sqlite_version_info)
        ledger.close()

    def test_a_database_held_by_another_process_fails_after_two_seconds(self, ledger, path, driver):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        with pytest.raises(LedgerUnavailable) as caught:
            driver.accept(driver.event(version="1"))
        assert 1.5 < time.monotonic() - started < 4
        assert caught.value.code == "store.locked"
        assert caught.value.retry_after == timedelta(seconds=5)
        with pytest.raises(LedgerUnavailable):
            ledger.administration.ping()
        with pytest.raises(LedgerUnavailable):
            ledger.history.delivery("x")
        other.execute("ROLLBACK")
        other.close()
        ledger.administration.ping()
        assert driver.accept(driver.event(version="1")).new_events == 1

    def test_many_threads_wait_no_longer_than_a_single_thread(self, ledger, path, driver):
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
        waited: list[float] = []

        def knock() -> None:
            started = time.monotonic()
            with pytest.raises(LedgerUnavailable):
                driver.accept(driver.event(version="1"))
            waited.append(time.monotonic() - started)

        threads = [threading.Thread(target=knock) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        other.close()
        assert len(waited) == 8
        assert max(waited) < 4

    def test_a_short_lock_is_awaited(self, ledger, path, driver):
        other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.3, lambda: other.execute("ROLLBACK"))
        timer.start()
        assert driver.accept(driver.event(version="1")).new_events == 1
        timer.join()
        other.close()

    def test_a_file_that_is_not_a_database_is_reported(self, path):
        path.write_bytes(b"this is a letter, not a database" * 100)
        ledger = Ledger.open(f"sqlite:///{path}")
        for act in (
            ledger.administration.migrate,
            ledger.administration.ping,
            ledger.statistics.counts,
        ):
            with pytest.raises(LedgerUnavailable, match="not a database"):
                act()
        ledger.close()
        assert path.read_bytes().startswith(b"this is a letter")

    def test_errors_never_contain_the_parameters(self, path, driver):
        path.unlink()
        ledger = Ledger.open(f"sqlite:///{path}")
        driver.ledger = ledger
        with pytest.raises(LedgerUnavailable) as caught:
            driver.accept(driver.event(version="1"), source="secret-name")
        assert caught.value.code == "store.unmigrated"
        text = f"{caught.value!r} {caught.value.__cause__!s}"
        assert "secret-name" not in text
        # SQLAlchemy shortens long parameter lists anyway, which would not protect short ones.
        assert "parameters hidden" in text
        ledger.close()

    def test_a_failed_transaction_is_rolled_back(self, ledger, driver):
        class Stop(Exception):
            pass

        def half() -> None:
            with ledger._database.write() as connection:
                connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'x'")
                raise Stop

        with pytest.raises(Stop):
            half()
        ledger.administration.migrate()
        ledger.administration.ping()

    def test_forty_threads_read_and_write_at_once(self, ledger, driver):
        def work(n: int) -> int:
            driver.accept(driver.event(f"{n}.zip", version="1"))
            return len(ledger.history.notifications(limit=1).items)

        with ThreadPoolExecutor(40) as threads:
            assert list(threads.map(work, range(40))) == [1] * 40
        assert sum(ledger.statistics.counts().values()) == 40

    def test_a_full_disk_is_reported_until_there_is_space(self, ledger, driver):
        def most(pages: int) -> None:
            with ledger._database.read() as connection:
                connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")

        driver.accept(driver.event("first.zip", version="1"))
        most(1)  # SQLite raises the limit to the current size
        events = [driver.event(f"{n}.zip", version="1") for n in range(500)]
        with pytest.raises(LedgerUnavailable) as caught:
            driver.accept(*events)
        assert caught.value.code == "store.full"
        assert sum(ledger.statistics.counts().values()) == 1
        most(1_000_000)
        assert driver.accept(driver.event("last.zip", version="1")).new_events == 1


def test_a_closed_ledger_closes_the_file(tmp_path):
    ledger = Ledger.open(f"sqlite:///{tmp_path}/relay.db")
    ledger.administration.migrate()
    ledger.close()
    held = [link for link in Path("/proc/self/fd").iterdir() if points_to(link, tmp_path)]
    assert held == []


def points_to(link: Path, folder: Path) -> bool:
    try:
        return str(link.readlink()).startswith(str(folder))
    except OSError:
        return False


def test_a_worker_disconnected_in_a_transaction_does_not_block_other_claims(
    database_pool, monkeypatch
):
    url = database_pool.acquire()
    ledger = Ledger.open(url)
    monkeypatch.setattr(postgresql, "IDLE_TIMEOUT", 300.0)
    cut_off = Ledger.open(url)
    try:
        driver = LedgerDriver(ledger)
        delivery = driver.deliver_to("prod", version="1")

        def work() -> None:
            with cut_off._database.write() as connection:
                cut_off._database.advisory_lock(connection, "claim")
                # The connection sends nothing more, and another claim succeeds:
                assert driver.claimed().delivery.id == delivery.id
                cut_off._database.advisory_lock(connection, "claim")

        with pytest.raises(LedgerUnavailable):
            work()
    finally:
        cut_off.close()
        ledger.close()
        database_pool.release(url)


class TestUnresponsivePostgresql:
    """A socket that accepts connections and never responds."""

    @pytest.fixture
    def silent(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            yield f"postgresql://relay@127.0.0.1:{listener.getsockname()[1]}/relay"

    def test_an_unresponsive_server_is_reported_in_time(self, silent):
        ledger = Ledger.open(f"{silent}?connect_timeout=2")
        with pytest.raises(LedgerUnavailable) as caught:
            ledger.administration.ping()
        assert caught.value.code == "store.unavailable"
        ledger.close()

    def test_the_url_overrides_the_default_timeouts(self, silent):
        database = Database.open(f"{silent}?connect_timeout=2")
        used = database._engine.url.query
        assert used["connect_timeout"] == "2"
        assert used["tcp_user_timeout"] == postgresql.CONNECTION_OPTIONS["tcp_user_timeout"]
        database.close()


def test_only_a_missing_relation_means_that_the_tables_are_missing():
    missing = 'relation "events" does not exist\nLINE 1: SELECT'
    assert translate(missing).code == "store.unmigrated"
    other = translate('index row size 2824 exceeds btree version 4 for relation "events"')
    assert other.code == "store.unavailable"
    assert "index row size" in other.message.en
