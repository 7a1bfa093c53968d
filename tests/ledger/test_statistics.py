"""Tests that the totals, which triggers maintain, match the tables."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

from sqlalchemy import text

from relay.ledger import Conflict, LedgerUnavailable
from relay.ledger.ids import id_of
from relay.model import Failed, NewDelivery, NewMessage, Skipped, State, Succeeded

from .conftest import ROUTED, LedgerDriver
from .plans import full_scans, statements, steps

NOWHERE = (NewDelivery("", "", {}, state=State.SKIPPED, reason="no route"),)


def test_totals_match_the_tables_after_random_operations_in_four_threads(ledger, driver):
    def step(own_driver: LedgerDriver, rng: random.Random, number: int) -> None:
        own_driver.later(seconds=1)
        chosen = rng.choice((ROUTED, NOWHERE))
        key = f"{rng.randrange(8)}.zip"
        own_driver.accept(own_driver.event(key, version=str(number)), deliveries=chosen)
        if (claim := own_driver.claim()) is None:
            return
        ended = rng.choice((Succeeded({}), Failed(own_driver.problem), Skipped("gone")))
        messages = [NewMessage("ops", "import.failed", {})] if claim.event else []
        own_driver.finish(claim, ended, messages=messages)
        if rng.random() < 0.3:
            ledger.retriggers.retrigger(claim.delivery.id, own_driver.now)

    def work(seed: int) -> None:
        own_driver, rng = LedgerDriver(ledger), random.Random(seed)
        for number in range(30):
            # Operations that failed because of other threads must not count either.
            with suppress(Conflict, LedgerUnavailable):
                step(own_driver, rng, number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check_counts(ledger)
    attempts, events = ledger.statistics.attempt_counts(), ledger.statistics.event_counts()
    driver.later(days=100)
    gone = ledger.retention.prune_deliveries(id_of(driver.now)).deliveries
    ledger.retention.prune_notifications(id_of(driver.now), id_of(driver.now))
    assert gone > 0
    check_counts(ledger, pruned=True)
    assert (ledger.statistics.attempt_counts(), ledger.statistics.event_counts()) == (
        attempts,
        events,
    )


def test_no_statistic_reads_the_history(ledger, driver):
    for number in range(50):
        driver.done(f"{number}.zip", version="1")
    with ledger._database._engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")

    def scrape():
        ledger.statistics.counts()
        ledger.statistics.last_events()
        ledger.statistics.last_notifications()
        ledger.statistics.event_counts()
        ledger.statistics.attempt_counts()
        ledger.statistics.notification_counts()
        ledger.queue.owners()

    found = steps(ledger, statements(ledger, scrape))
    assert len(found) > 10
    assert full_scans(found) == set()
    if ledger._database.is_sqlite:  # without the index it would read all succeeded deliveries
        assert [step for step in found if "ix_deliveries_state" in step] == []


def check_counts(ledger, *, pruned: bool = False) -> None:
    """Compare the totals with the counts of the tables."""

    def count_rows(columns: str, table: str) -> dict[tuple[str, ...], int]:
        query = f"SELECT {columns}, count(*) FROM {table} GROUP BY {columns}"
        return {tuple(row[:-1]): row[-1] for row in connection.execute(text(query))}

    with ledger._database.read() as connection:
        assert ledger.statistics.counts() == count_rows("kind, state", "deliveries")
        if pruned:
            return
        ended = count_rows("kind, destination, outcome", "attempts WHERE outcome IS NOT NULL")
        assert ledger.statistics.attempt_counts() == ended
        assert ledger.statistics.notification_counts() == count_rows(
            "source, verdict", "notifications"
        )
        assert ledger.statistics.event_counts() == {
            source: n for (source,), n in count_rows("source", "events").items()
        }
