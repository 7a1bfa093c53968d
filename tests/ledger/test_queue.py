"""Tests of claiming deliveries."""

from __future__ import annotations

import threading
from collections import Counter

from sqlalchemy import event as engine_event

from relay.model import Kind, NewDelivery, State, Trigger

from .plans import analyze, full_scans, statements, steps

IMPORT_ONE = {(Kind.IMPORT, "prod"): 1}


def test_a_claim_contains_the_delivery_and_the_event(ledger, driver):
    event = driver.event(version="v1", etag="e1", size=5, order="s3:1")
    driver.accept(event)
    driver.later(seconds=1)
    claim = driver.claimed("w1")
    assert claim.event == event
    assert (claim.owner, claim.fence, claim.attempt, claim.intents) == ("w1", 1, 1, ())
    assert (claim.delivery.state, claim.delivery.attempts) == (State.RUNNING, 1)
    (attempt,) = ledger.history.attempts(claim.delivery.id)
    assert (attempt.number, attempt.trigger) == (1, Trigger.AUTOMATIC)
    assert (attempt.started, attempt.finished, attempt.outcome) == (driver.now, None, None)


def test_the_oldest_due_delivery_is_claimed_first(driver):
    late = driver.deliver_to("prod", "late.zip", version="1")
    driver.later(seconds=-60)
    early = driver.deliver_to("test", "early.zip", version="1")
    driver.later(seconds=60)
    assert driver.claimed().delivery.id == early.id
    assert driver.claimed().delivery.id == late.id
    assert driver.claim() is None


def test_a_delivery_that_is_not_due_waits(driver):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed(), seconds=10)
    driver.later(seconds=9.999)
    assert driver.claim() is None
    driver.later(seconds=0.001)
    assert driver.claimed().attempt == 2


def test_a_running_delivery_is_not_claimed_again(driver):
    driver.deliver_to("prod", version="1")
    driver.claimed("w1")
    driver.later(seconds=29)
    assert driver.claim("w2") is None


class TestChoice:
    def test_only_the_given_kind_is_claimed(self, driver):
        driver.done()
        driver.deliver_to("prod", "b.zip", version="1")
        assert driver.claimed(kind=Kind.MESSAGE).delivery.kind == Kind.MESSAGE
        assert driver.claim(kind=Kind.MESSAGE) is None
        assert driver.claimed(kind=Kind.IMPORT).delivery.kind == Kind.IMPORT

    def test_an_expired_lease_of_another_kind_is_not_claimed(self, driver):
        driver.deliver_to("prod", version="1")
        driver.claimed()
        driver.later(seconds=31)
        assert driver.claim(kind=Kind.MESSAGE) is None
        assert driver.claimed(kind=Kind.IMPORT).attempt == 2

    def test_exactly_one(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        wanted = driver.deliver_to("prod", "b.zip", version="1")
        assert driver.claimed(only=wanted.id).delivery.id == wanted.id
        assert driver.claim(only=wanted.id) is None
        assert driver.claim(only="unknown") is None

    def test_only_respects_the_limits(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        wanted = driver.deliver_to("prod", "b.zip", version="1")
        driver.claimed(limits=IMPORT_ONE)
        assert driver.claim(only=wanted.id, limits=IMPORT_ONE) is None

    def test_a_claimed_message_has_a_body_and_no_event(self, driver):
        driver.done()
        claim = driver.claimed(kind=Kind.MESSAGE)
        assert claim.event is None
        assert claim.delivery.message["type"] == "import.succeeded"


def test_eight_threads_claim_two_hundred_deliveries_each_once(ledger, driver):
    for start in range(0, 200, 50):
        events = [driver.event(f"{n}.zip", version="1") for n in range(start, start + 50)]
        driver.accept(*events)
    claimed: list[str] = []

    def work(owner: str) -> None:
        while (claim := driver.claim(owner)) is not None:
            claimed.append(claim.delivery.id)
            assert driver.finish(claim)

    threads = [threading.Thread(target=work, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(claimed) == 200
    assert max(Counter(claimed).values()) == 1
    assert ledger.statistics.counts() == {(Kind.IMPORT, State.SUCCEEDED): 200}


def test_a_claim_reads_only_indexes(ledger, driver):
    driver.done()
    driver.deliver_to("prod", "b.zip", version="1")
    driver.deliver_to("test", "c.zip", version="1")
    driver.accept(*(driver.event(f"{number}.zip", version="1") for number in range(500)))
    driver.claimed()
    analyze(ledger)
    found = steps(ledger, statements(ledger, driver.claimed))
    assert full_scans(found) == {"gates"}
    due = [step for step in found if "ix_deliveries_due" in step]
    if ledger._database.is_sqlite:
        assert any("(kind=? AND destination=? AND due<?)" in step for step in due)
        assert any("(kind=? AND destination>?)" in step for step in due)
    assert len(due) >= 2
    assert any("ix_deliveries_leased" in step for step in found)


def test_checking_for_due_deliveries_reads_only_indexes(ledger, driver):
    driver.done()
    found = steps(
        ledger, statements(ledger, lambda: ledger.queue.is_any_due(Kind.IMPORT, driver.now))
    )
    assert full_scans(found) == set()
    assert any("ix_deliveries_due" in step for step in found)


def test_a_closed_destination_with_ten_thousand_deliveries_is_skipped_cheaply(ledger, driver):
    wanted = tuple(NewDelivery("r", "prod", {}) for _ in range(100))
    for n in range(20):
        driver.accept(driver.event(f"{n}.zip", version="1"), deliveries=wanted)
    statements: list[str] = []
    engine_event.listen(
        ledger._database._engine,
        "before_cursor_execute",
        lambda *arguments: statements.append(arguments[2]),
    )
    assert driver.claim(limits={(Kind.IMPORT, "prod"): 0}) is None
    assert len(statements) < 12
