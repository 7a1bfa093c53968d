"""Tests of deleting old history, except for what later uploads are compared with."""

from __future__ import annotations

import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select

from relay.ledger import DeliveryQuery, Ledger, LedgerUnavailable, NotFound, RetentionPolicy
from relay.ledger.ids import id_of, new_id
from relay.ledger.schema import deliveries
from relay.model import Failed, Kind, NewMessage, State, Verdict

KEPT = RetentionPolicy(timedelta(days=90), 1000, timedelta(days=30))


def prune(ledger: Ledger, driver: Any, kept: RetentionPolicy = KEPT) -> tuple[int, int, int]:
    """Prune everything. Returns the numbers of deleted deliveries, notifications and bodies."""
    before = ledger.retention.cutoff(kept, driver.now)
    rounds = [[], []]
    for pages, step in (
        (rounds[0], lambda after: ledger.retention.prune_deliveries(before, after)),
        (
            rounds[1],
            lambda after: ledger.retention.prune_notifications(
                before, max(before, id_of(driver.now - kept.bodies)), after
            ),
        ),
    ):
        after = ""
        while after is not None:
            pages.append(step(after))
            after = pages[-1].after
    return (
        sum(result.deliveries for result in rounds[0]),
        sum(result.notifications for result in rounds[1]),
        sum(result.bodies for result in rounds[1]),
    )


def keys(ledger: Ledger, kind: Kind = Kind.IMPORT) -> list[str]:
    return sorted(
        delivery.key for delivery in ledger.history.deliveries(DeliveryQuery(kind=kind)).items
    )


def finish_messages(driver: Any) -> None:
    while claim := driver.claim(kind=Kind.MESSAGE):
        driver.finish(claim)


def upload(driver: Any, key: str, version: str) -> None:
    driver.done(key, version=version)
    finish_messages(driver)
    driver.later(seconds=1)


def test_ids_sort_by_their_moment(driver: Any) -> None:
    assert id_of(driver.now) <= new_id(driver.now) < id_of(driver.now + timedelta(milliseconds=1))


def test_the_newest_version_of_each_object_is_kept(ledger: Ledger, driver: Any) -> None:
    for version in "123":
        upload(driver, "a.zip", version)
    upload(driver, "b.zip", "1")
    driver.later(days=365)
    assert prune(ledger, driver) == (2, 2, 2)
    assert keys(ledger) == ["a.zip", "b.zip"]
    assert keys(ledger, Kind.MESSAGE) == []
    assert prune(ledger, driver) == (0, 0, 0)
    assert driver.accept(driver.event("a.zip", version="3")).verdict == Verdict.DUPLICATE


def test_recent_history_is_kept(ledger: Ledger, driver: Any) -> None:
    upload(driver, "a.zip", "1")
    driver.later(days=60)
    upload(driver, "a.zip", "2")
    driver.later(days=20)
    assert prune(ledger, driver) == (0, 0, 1)
    driver.later(days=11)
    assert prune(ledger, driver) == (1, 1, 1)


@pytest.mark.parametrize("order", ["", "hex:{}"])
def test_events_that_arrived_out_of_order_are_still_compared_with_the_newest(
    ledger: Ledger, driver: Any, order: str
) -> None:
    one, two, three = (
        driver.event(
            "a.zip",
            version=str(number),
            order=order.format(number),
            time=driver.now + timedelta(seconds=10 * number),
        )
        for number in (1, 2, 3)
    )
    for early in (three, one):
        driver.later(seconds=60)
        driver.accept(early)
        driver.finish(driver.claimed())
    driver.later(days=100)
    assert prune(ledger, driver)[:2] == (0, 0)
    driver.accept(two)
    newer = ledger.history.newer_event(two.id_in("exports"), "exports#1", possibly=True)
    assert newer == three.id_in("exports")
    certain = ledger.history.newer_event(two.id_in("exports"), "exports#1")
    assert certain == (newer if order else None)


def test_of_events_with_equal_orders_a_single_event_is_kept(ledger: Ledger, driver: Any) -> None:
    for version in "123":
        driver.accept(driver.event("a.zip", version=version, order="hex:1", time=None))
        driver.finish(driver.claimed())
        driver.later(seconds=1)
    driver.later(days=100)
    assert prune(ledger, driver)[:2] == (2, 2)


def test_little_is_kept_of_keys_without_further_uploads(ledger: Ledger, driver: Any) -> None:
    imports = [driver.done(f"exports/{number}.zip", version="1") for number in range(30)]
    finish_messages(driver)
    driver.later(days=3650)
    kept = RetentionPolicy(timedelta(days=90), 4, timedelta(days=30))
    assert prune(ledger, driver, kept) == (0, 0, 30)
    assert prune(ledger, driver, kept) == (0, 0, 0)
    assert len(keys(ledger)) == 30
    assert keys(ledger, Kind.MESSAGE) == []
    assert [ledger.history.delivery(delivery.id) for delivery in imports] == imports
    assert driver.accept(driver.event("exports/7.zip", version="1")).verdict == Verdict.DUPLICATE


def test_a_recent_retrigger_makes_a_delivery_recent(ledger: Ledger, driver: Any) -> None:
    delivery = driver.done(version="1")
    finish_messages(driver)
    driver.later(days=100)
    ledger.retriggers.retrigger(delivery.id, driver.now)
    again = NewMessage("ops", "import.succeeded", {})
    driver.finish(driver.claimed(kind=Kind.IMPORT), messages=[again])
    finish_messages(driver)
    driver.later(days=1)
    prune(ledger, driver)
    assert len(ledger.history.messages(delivery.id)) == 2
    driver.later(days=90)
    prune(ledger, driver)
    assert ledger.history.messages(delivery.id) == []


@pytest.mark.parametrize("settled", [False, True])
def test_kept_attempts_are_sufficient_for_the_next_claim(
    ledger: Ledger, driver: Any, *, settled: bool
) -> None:
    delivery = driver.done(version="1") if settled else driver.deliver_to("prod", version="1")
    if settled:
        ledger.retriggers.retrigger(delivery.id, driver.now)
    for _ in range(5):
        driver.retry(driver.claimed(kind=Kind.IMPORT))
        driver.later(seconds=11)
    driver.finish(driver.claimed(kind=Kind.IMPORT), Failed(driver.problem))
    finish_messages(driver)
    every = ledger.history.attempts(delivery.id)
    driver.later(days=100)
    prune(ledger, driver)
    assert ledger.history.attempts(delivery.id) == [every[1 if settled else 0], every[-1]]
    ledger.retriggers.retrigger(delivery.id, driver.now)
    claim = driver.claimed(kind=Kind.IMPORT)
    assert claim.crashes == 0
    assert claim.delivery.attempts == len(every) + 1


@pytest.mark.parametrize("again", ["import", "message"])
def test_a_retrigger_during_pruning_is_not_lost(
    ledger: Ledger, driver: Any, url: str, again: str
) -> None:
    upload(driver, "a.zip", "1")
    upload(driver, "a.zip", "2")
    driver.later(days=100)
    old = ledger.history.deliveries(DeliveryQuery(kind=Kind(again))).items[-1].id
    other, asked = Ledger.open(url), []

    def retrigger() -> None:
        with suppress(NotFound, LedgerUnavailable):
            asked.append(other.retriggers.retrigger(old, driver.now))

    thread = threading.Thread(target=retrigger)

    def ask(*given: Any) -> None:
        if given[2].startswith("DELETE FROM deliveries") and thread.ident is None:
            thread.start()
            thread.join(0.5)  # the rows are locked: the retrigger waits until they are deleted

    event.listen(ledger._database._engine, "before_cursor_execute", ask)
    assert prune(ledger, driver)[0] == 1
    thread.join()
    assert thread.ident is not None
    assert not asked or ledger.history.delivery(old) is not None
    other.close()


@pytest.mark.parametrize("locked", ["import", "message"])
@pytest.mark.parametrize("url", ["postgresql"], indirect=True)
def test_locked_deliveries_are_skipped(ledger: Ledger, driver: Any, url: str, locked: str) -> None:
    upload(driver, "a.zip", "1")
    upload(driver, "a.zip", "2")
    driver.later(days=100)
    old = ledger.history.deliveries(DeliveryQuery(kind=Kind(locked))).items[-1].id
    other = Ledger.open(url)
    with other._database.write() as connection:
        its = select(deliveries.c.id).where(deliveries.c.id == old)
        connection.execute(its.with_for_update()).one()
        assert prune(ledger, driver)[0] == 0
    assert prune(ledger, driver)[0] == 1
    other.close()


def test_unused_digests_are_deleted(ledger: Ledger, driver: Any) -> None:
    ledger.digests.remember("prod", "aa", "01")
    ledger.digests.remember("prod", "bb", "02")
    begun = driver.now
    assert ledger.retention.prune_digests(begun - KEPT.history, begun) == 0
    driver.later(days=50)
    assert ledger.digests.find("prod", "aa") == "01"
    assert ledger.retention.prune_digests(driver.now - KEPT.history, driver.now) == 0
    driver.later(days=50)
    assert ledger.retention.prune_digests(driver.now - KEPT.history, driver.now) == 1
    assert (ledger.digests.find("prod", "aa"), ledger.digests.find("prod", "bb")) == ("01", None)


@pytest.mark.parametrize("state", ["pending", "running", "telling"])
def test_unfinished_deliveries_are_kept(ledger: Ledger, driver: Any, state: str) -> None:
    driver.deliver_to("prod", "a.zip", version="1")
    if state == "running":
        driver.claimed()
    if state == "telling":
        driver.claim()
        driver.later(seconds=40)
        driver.done("a.zip", version="0")
    driver.later(days=1)
    driver.accept(driver.event("a.zip", version="9"))
    driver.later(days=365)
    assert prune(ledger, driver)[:2] == (0, 0)


def test_deliveries_beyond_the_maximum_are_deleted_early(ledger: Ledger, driver: Any) -> None:
    for version in range(6):
        upload(driver, "a.zip", str(version))
    # Twelve rows: six imports and six messages; either of the third pair may be the fifth newest.
    gone = prune(ledger, driver, RetentionPolicy(timedelta(days=90), 4, timedelta(days=30)))[0]
    assert gone in (3, 4)
    assert len(keys(ledger)) == 6 - gone


def test_long_histories_are_deleted_page_by_page(ledger: Ledger, driver: Any) -> None:
    for number in range(1100):
        driver.accept(driver.event("a.zip", version=str(number)), deliveries=())
        driver.later(milliseconds=1)
    driver.later(days=100)
    assert prune(ledger, driver) == (0, 1099, 1)


def test_counters_never_decrease(ledger: Ledger, driver: Any) -> None:
    for version in "123":
        upload(driver, "a.zip", version)
    driver.accept(driver.event("a.zip", version="3"))
    before = (
        ledger.statistics.attempt_counts(),
        ledger.statistics.event_counts(),
        ledger.statistics.notification_counts(),
    )
    driver.later(days=365)
    assert prune(ledger, driver)[0] == 2
    assert (
        ledger.statistics.attempt_counts(),
        ledger.statistics.event_counts(),
        ledger.statistics.notification_counts(),
    ) == before
    upload(driver, "a.zip", "4")
    driver.later(days=365)
    prune(ledger, driver)
    assert ledger.statistics.event_counts() == {"exports": 4}
    assert ledger.statistics.counts()[Kind.IMPORT, State.SUCCEEDED] == 1


def test_an_old_body_is_deleted_and_the_notification_is_kept(ledger: Ledger, driver: Any) -> None:
    accepted = driver.accept(driver.event("a.zip", version="1"))
    driver.later(days=31)
    prune(ledger, driver)
    kept = ledger.history.notification(accepted.notification_id)
    assert kept is not None
    assert (kept.body, kept.verdict, kept.source) == (b"", Verdict.ACCEPTED, "exports")
