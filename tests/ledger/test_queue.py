"""Which delivery is next, and whose it is."""

from __future__ import annotations

import threading
from collections import Counter

from sqlalchemy import event as engine_event

from relay.model import Kind, NewDelivery, State, Trigger

from .plans import look_about, read_whole, statements, steps

IMPORT_ONE = {(Kind.IMPORT, "prod"): 1}


def test_a_claim_holds_all_that_the_work_needs(ledger, driver):
    event = driver.event(version="v1", etag="e1", size=5, order="s3:1")
    driver.accept(event)
    driver.later(seconds=1)
    claim = driver.claimed("w1")
    assert claim.event == event
    assert (claim.owner, claim.fence, claim.attempt, claim.earlier) == ("w1", 1, 1, None)
    assert (claim.delivery.state, claim.delivery.attempts) == (State.RUNNING, 1)
    (attempt,) = ledger.history.attempts(claim.delivery.id)
    assert (attempt.number, attempt.trigger) == (1, Trigger.AUTOMATIC)
    assert (attempt.started, attempt.finished, attempt.outcome) == (driver.now, None, None)


def test_the_one_due_longest_comes_first(driver):
    late = driver.deliver_to("prod", "late.zip", version="1")
    driver.later(seconds=-60)
    early = driver.deliver_to("test", "early.zip", version="1")
    driver.later(seconds=60)
    assert driver.claimed().delivery.id == early.id
    assert driver.claimed().delivery.id == late.id
    assert driver.claim() is None


def test_what_is_not_due_yet_waits(driver):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed(), seconds=10)
    driver.later(seconds=9.999)
    assert driver.claim() is None
    driver.later(seconds=0.001)
    assert driver.claimed().attempt == 2


def test_a_running_delivery_is_nobody_elses(driver):
    driver.deliver_to("prod", version="1")
    driver.claimed("w1")
    driver.later(seconds=29)
    assert driver.claim("w2") is None


class TestChoice:
    def test_of_one_kind_only(self, driver):
        driver.done()
        driver.deliver_to("prod", "b.zip", version="1")
        assert driver.claimed(kind=Kind.MESSAGE).delivery.kind == Kind.MESSAGE
        assert driver.claim(kind=Kind.MESSAGE) is None
        assert driver.claimed(kind=Kind.IMPORT).delivery.kind == Kind.IMPORT

    def test_an_ended_lease_of_the_other_kind_is_left_alone(self, driver):
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

    def test_exactly_one_heeds_the_limit_too(self, driver):
        driver.deliver_to("prod", "a.zip", version="1")
        wanted = driver.deliver_to("prod", "b.zip", version="1")
        driver.claimed(limits=IMPORT_ONE)
        assert driver.claim(only=wanted.id, limits=IMPORT_ONE) is None

    def test_a_message_has_no_event_but_its_text(self, driver):
        driver.done()
        claim = driver.claimed(kind=Kind.MESSAGE)
        assert claim.event is None
        assert claim.delivery.message["type"] == "import.succeeded"


class TestEarlier:
    """Since when the destination may have been reached without our knowing."""

    def test_is_the_first_attempt_whose_end_is_not_known_for_certain(self, driver):
        driver.deliver_to("prod", version="1")
        started = driver.now
        driver.retry(driver.claimed())
        driver.later(seconds=10)
        driver.retry(driver.claimed())
        driver.later(seconds=10)
        assert driver.claimed().earlier == started

    def test_does_not_reach_back_behind_a_success(self, driver):
        driver.deliver_to("prod", version="1")
        driver.retry(driver.claimed())
        driver.later(seconds=10)
        claim = driver.claimed()
        driver.finish(claim)
        driver.ledger.retriggers.retrigger(claim.delivery.id, driver.now)
        again = driver.claimed()
        assert (again.earlier, again.attempt) == (None, 1)
        started = driver.now
        driver.retry(again)
        driver.later(seconds=10)
        assert driver.claimed().earlier == started


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


def test_a_claim_looks_into_indexes_only(ledger, driver):
    driver.done()
    driver.deliver_to("prod", "b.zip", version="1")
    driver.deliver_to("test", "c.zip", version="1")
    driver.accept(*(driver.event(f"{number}.zip", version="1") for number in range(500)))
    driver.claimed()
    look_about(ledger)
    found = steps(ledger, statements(ledger, driver.claimed))
    assert read_whole(found) == {"gates"}
    due = [one for one in found if "ix_deliveries_due" in one]
    if ledger._database.is_sqlite:
        assert any("(kind=? AND destination=? AND due<?)" in one for one in due)
        assert any("(kind=? AND destination>?)" in one for one in due)
    assert len(due) >= 2
    assert any("ix_deliveries_leased" in one for one in found)


def test_to_look_whether_anything_is_due_reads_no_table(ledger, driver):
    driver.done()
    found = steps(
        ledger, statements(ledger, lambda: ledger.queue.is_any_due(Kind.IMPORT, driver.now))
    )
    assert read_whole(found) == set()
    assert any("ix_deliveries_due" in one for one in found)


def test_ten_thousand_deliveries_behind_a_closed_lane_cost_no_more_than_one(ledger, driver):
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
