"""Tests of creating and migrating the tables."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from relay.errors import ConfigError
from relay.ledger import Ledger, LedgerUnavailable
from relay.ledger.administration import VERSIONS, newest_version
from relay.ledger.message_order import subject_of
from relay.ledger.schema import metadata
from relay.ledger.types import storable
from relay.model import Kind, NewMessage, State, Succeeded, Verdict
from tests.ledgers import new_ledger


def test_the_migrations_make_exactly_the_tables_of_the_schema(ledger):
    with ledger._database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_the_newest_version_is_the_one_that_alembic_finds():
    config = Config()
    config.set_main_option("script_location", str(VERSIONS.parent))
    assert newest_version() == ScriptDirectory.from_config(config).get_current_head()


def test_a_start_that_finds_the_newest_tables_does_not_import_alembic(tmp_path):
    url = new_ledger(tmp_path / "relay.db")
    code = (
        "import sys; from relay.ledger import Ledger; "
        f"ledger = Ledger.open({url!r}); ledger.administration.migrate(); "
        "ledger.administration.ping(); ledger.close(); "
        "print('alembic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_partial_indexes_are_partial(ledger):
    query = "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
    if not ledger._database.is_sqlite:
        query = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    with ledger._database.read() as connection:
        rows = connection.execute(text(query)).all()
    wheres = {name: (sql or "").partition(" WHERE ")[2] for name, sql in rows}
    found = {name: re.sub(r"[()]|::text", "", where) for name, where in wheres.items() if where}
    assert found == {
        "ix_attempts_told": "kind = 'message'",
        "ix_deliveries_due": "state = 'pending'",
        "ix_deliveries_leased": "state = 'running'",
        "ix_deliveries_subject": "subject IS NOT NULL",
        "ix_intents_open": "state = 'open'",
        "ix_intents_repeated": "state = 'repeated'",
        "ix_intents_to_correct": "closed IS NOT NULL AND next_question IS NOT NULL",
    }


def test_migrating_again_changes_nothing(ledger, driver):
    delivery = driver.done(version="1")
    ledger.administration.migrate()
    assert ledger.history.delivery(delivery.id) == delivery


def test_records_of_an_older_database_are_counted_and_delivered(url):
    ledger = Ledger.open(url)
    with ledger._database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD:
            connection.execute(text(statement))
    ledger.administration.migrate()
    assert ledger.statistics.counts() == {
        (Kind.IMPORT, State.FAILED): 1,
        (Kind.IMPORT, State.PENDING): 1,
    }
    assert ledger.statistics.event_counts() == {"s": 8}
    assert ledger.statistics.notification_counts() == {("s", Verdict.ACCEPTED): 1}
    assert ledger.statistics.attempt_counts() == {(Kind.IMPORT, "prod", "failed"): 1}
    now = datetime(2026, 5, 1, tzinfo=UTC)
    claim = ledger.queue.claim("w1", timedelta(seconds=30), {}, now)
    assert ledger.functions.lock(claim, "hello", now).status == "locked"
    assert ledger.outcomes.finish(claim, Succeeded({}), now)
    assert ledger.statistics.counts() == {
        (Kind.IMPORT, State.FAILED): 1,
        (Kind.IMPORT, State.SUCCEEDED): 1,
    }
    ledger.close()


_PLACE = "'import', '{state}', 's', 'r', 'b', '{key}', 'prod', 'e1', 1"
_COUNTS = "1, 1, 1, 'automatic', 1, '{{}}', '[]'"
_NOTIFICATION = """INSERT INTO notifications
    VALUES ('n1', 's', 'hook', 1, 'POST', '/', '{}', '', 'accepted', NULL, '[]', 1)"""
_ATTEMPT = """INSERT INTO attempts
    (delivery_id, number, kind, destination, trigger, started, finished, outcome)
    VALUES ('d-failed', 1, 'import', 'prod', 'automatic', 1, 1, 'failed')"""
OLD = (
    _NOTIFICATION,
    "INSERT INTO events VALUES ('e1', 'n1', 's', 'b', 'k', NULL, NULL, 1, 'i', 'Put', 1, '', 1)",
    *(
        "INSERT INTO deliveries (id, kind, state, source, route, bucket, key, destination, "
        "event_id, created, attempts, tries, run, trigger, fence, options, channels, due) "
        f"VALUES ('d-{state}', {_PLACE}, {_COUNTS}, {due})".format(state=state, key=state)
        for state, due in (("failed", "NULL"), ("pending", "1"))
    ),
    _ATTEMPT,
    "INSERT INTO totals VALUES ('events', 's', '', '', 7)",
)
"""A short history as the first version stored it."""


def test_messages_of_an_older_ledger_get_their_type(url):
    ledger = Ledger.open(url)
    with ledger._database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0006")
        for type_ in ("digest", "import.failed"):
            body = f'{{"type": "{type_}", "body": {{"key": "\\ud800\\u0000 \\"type\\""}}}}'
            connection.execute(
                text(
                    "INSERT INTO deliveries (id, kind, state, source, route, bucket, key, "
                    "destination, created, attempts, tries, run, trigger, fence, options, "
                    "channels, message) VALUES (:id, 'message', 'pending', '', '', '', '', "
                    "'ops', 1, 0, 0, 1, 'automatic', 0, '{}', '[]', :message)"
                ),
                {"id": type_, "message": body},
            )
    ledger.administration.migrate()
    with ledger._database.read() as connection:
        rows = connection.execute(text("SELECT id, message_type FROM deliveries")).all()
    assert sorted(rows) == [("digest", "digest"), ("import.failed", "import.failed")]
    ledger.close()


def test_unfinished_deliveries_of_an_older_ledger_have_a_full_budget(url):
    ledger, before = Ledger.open(url), datetime.now(UTC)
    with ledger._database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        for statement in OLD:
            connection.execute(text(statement))
    ledger.administration.migrate()
    failed, pending = map(ledger.history.delivery, ("d-failed", "d-pending"))
    assert failed.budget_from is None
    assert before <= pending.budget_from <= datetime.now(UTC)
    assert (pending.waits, pending.gave_up) == (0, None)
    ledger.close()


def test_messages_of_an_older_ledger_get_the_subject_of_new_ones(url):
    ledger = Ledger.open(url)
    key = "prod/中文\0\ud800.zip"
    with ledger._database.write() as connection:
        config = Config()
        config.set_main_option("script_location", str(VERSIONS.parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "0013")
        for id_, kind, parent in (("i", "import", None), ("m", "message", "i")):
            connection.execute(
                text(
                    "INSERT INTO deliveries (id, kind, state, source, route, bucket, key, parent, "
                    "destination, created, attempts, tries, run, trigger, fence, options, "
                    "channels) VALUES (:id, :kind, 'pending', 's', 's#1', 'b', :key, :parent, "
                    "'ops', 1, 0, 0, 1, 'automatic', 0, '{}', '[]')"
                ),
                {"id": id_, "kind": kind, "parent": parent, "key": storable(key)},
            )
    ledger.administration.migrate()
    about = ledger.history.delivery("i")
    with ledger._database.read() as connection:
        rows = connection.execute(text("SELECT id, subject FROM deliveries")).all()
    new = NewMessage("ops", "import.failed", {})
    assert sorted(rows) == [("i", None), ("m", subject_of(new, about))]
    ledger.close()


def test_a_database_without_tables_is_not_ready(url):
    ledger = Ledger.open(url)
    with pytest.raises(LedgerUnavailable, match="no tables"):
        ledger.administration.ping()
    ledger.administration.migrate()
    ledger.administration.ping()
    ledger.close()


def test_a_database_of_a_newer_relay_is_refused_and_not_changed(ledger):
    with ledger._database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigError, match=r"newer Relay .*9999") as caught:
        ledger.administration.migrate()
    assert caught.value.path == "database.url"
    with ledger._database.read() as connection:
        assert connection.execute(text("SELECT * FROM alembic_version")).scalar() == "9999"


def test_migrating_prints_nothing_and_leaves_logging_as_it_is(url, capfd):
    root, names = logging.getLogger(), set(logging.root.manager.loggerDict)
    before = (root.level, list(root.handlers), logging.root.manager.disable)
    ledger = Ledger.open(url)
    ledger.administration.migrate()
    ledger.close()
    assert (root.level, list(root.handlers), logging.root.manager.disable) == before
    disabled = [name for name in names if getattr(logging.getLogger(name), "disabled", False)]
    assert disabled == []
    assert capfd.readouterr() == ("", "")
