"""Figures are counted as things happen, and so read in no time: they must be what is there."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

from sqlalchemy import text

from relay.ledger import Conflict, LedgerUnavailable
from relay.ledger.ids import id_of
from relay.model import Failed, NewDelivery, NewMessage, Skipped, State, Succeeded

from .conftest import ROUTED, LedgerDriver
from .plans import read_whole, statements, steps

NOWHERE = (NewDelivery("", "", {}, state=State.SKIPPED, reason="no route"),)


def test_they_are_what_is_there_after_whatever_happened_in_four_threads(ledger, driver):
    def step(mine: LedgerDriver, chance: random.Random, number: int) -> None:
        mine.later(seconds=1)
        chosen = chance.choice((ROUTED, NOWHERE))
        key = f"{chance.randrange(8)}.zip"
        mine.accept(mine.event(key, version=str(number)), deliveries=chosen)
        if (claim := mine.claim()) is None:
            return
        ended = chance.choice((Succeeded({}), Failed(mine.problem), Skipped("gone")))
        told = [NewMessage("ops", "import.failed", {})] if claim.event else []
        mine.finish(claim, ended, messages=told)
        if chance.random() < 0.3:
            ledger.retriggers.retrigger(claim.delivery.id, mine.now)

    def work(seed: int) -> None:
        mine, chance = LedgerDriver(ledger), random.Random(seed)
        for number in range(30):
            # What was refused, for others were faster, must not have been counted either.
            with suppress(Conflict, LedgerUnavailable):
                step(mine, chance, number)

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


def test_no_figure_reads_the_history(ledger, driver):
    for number in range(50):
        driver.done(f"{number}.zip", version="1")
    with ledger._database._engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")

    def scrape():
        ledger.statistics.counts()
        ledger.statistics.oldest_due(driver.now)
        ledger.statistics.last_events()
        ledger.statistics.last_notifications()
        ledger.statistics.event_counts()
        ledger.statistics.attempt_counts()
        ledger.statistics.notification_counts()
        ledger.queue.owners()

    found = steps(ledger, statements(ledger, scrape))
    assert len(found) > 20
    assert read_whole(found) == set()
    if ledger._database.is_sqlite:  # else it would read all that succeeded
        assert [step for step in found if "ix_deliveries_state" in step] == []


def check_counts(ledger, *, pruned: bool = False) -> None:
    """The figures against what the tables hold, counted one by one."""

    def there(columns: str, table: str) -> dict[tuple[str, ...], int]:
        query = f"SELECT {columns}, count(*) FROM {table} GROUP BY {columns}"
        return {tuple(row[:-1]): row[-1] for row in connection.execute(text(query))}

    with ledger._database.read() as connection:
        assert ledger.statistics.counts() == there("kind, state", "deliveries")
        if pruned:
            return
        ended = there("kind, destination, outcome", "attempts WHERE outcome IS NOT NULL")
        assert ledger.statistics.attempt_counts() == ended
        assert ledger.statistics.notification_counts() == there("source, verdict", "notifications")
        assert ledger.statistics.event_counts() == {
            one: n for (one,), n in there("source", "events").items()
        }
